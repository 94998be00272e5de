"""A README in parts: its code blocks with the commands in them, its headings, tables and links."""

import dataclasses
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROMPT = "$ "
MARKER = re.compile(r"<!-- (not run|run): (.+?) -->")
# What the text calls by name in backticks, such as `docs/security.md`.
NAMED_FILE = re.compile(r"`((?:docs|examples)/[\w./-]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)|src=\"([^\"]+)\"")


@dataclasses.dataclass
class Block:
    """A fenced block; `begin` and `end` are the places of its first line and of the fence after it."""

    language: str
    begin: int
    end: int
    lines: list
    marker: tuple  # ("run" | "not run" | "", the words after it)

    @property
    def is_shell(self):
        return any(line.startswith(PROMPT) for line in self.lines)

    def steps(self):
        """[(command, lines of the output that is pasted)]. A command goes on until the shell has all of it."""
        found, at = [], 0
        while at < len(self.lines):
            if not self.lines[at].startswith(PROMPT):
                raise ValueError(f"line {self.begin + at + 1}: an output stands before any command")
            command = self.lines[at].removeprefix(PROMPT)
            at += 1
            while not is_whole(command):
                if at == len(self.lines):
                    raise ValueError(f"line {self.begin + at}: the command does not end")
                command += "\n" + self.lines[at]
                at += 1
            output = []
            while at < len(self.lines) and not self.lines[at].startswith(PROMPT):
                output.append(self.lines[at])
                at += 1
            found.append((command, output))
        return found


def is_whole(command):
    if command.endswith("\\"):
        return False
    return not subprocess.run(["bash", "-n", "-c", command], capture_output=True).returncode


class Document:
    def __init__(self, name):
        self.path = ROOT / name
        self.lines = self.path.read_text(encoding="utf-8").splitlines()
        self.blocks, self.prose = [], []
        begin = None
        for at, line in enumerate(self.lines):
            if line.startswith("```"):
                if begin is None:
                    begin = at + 1
                    continue
                language = self.lines[begin - 1].removeprefix("```")
                self.blocks.append(Block(language, begin, at, self.lines[begin:at], self.marker(begin - 2)))
                begin = None
            elif begin is None:
                self.prose.append((at, line))

    def marker(self, at):
        found = MARKER.fullmatch(self.lines[at].strip()) if at >= 0 else None
        return found.groups() if found else ("", "")

    def outline(self):
        """What both languages must have alike: headings, lists, tables and pictures, in their order."""
        shape = []
        for _, line in self.prose:
            if heading := re.match(r"#+ ", line):
                shape.append(f"heading of level {len(heading[0]) - 1}")
            elif line.startswith("|"):
                shape.append(f"table row of {line.count('|') - 1}")
            elif line.startswith("- "):
                shape.append("list item")
            elif "<img " in line:
                shape.append("picture " + " ".join(re.findall(r'src="([^"]+)"', line)))
        return shape

    def headings(self):
        titles = [line.lstrip("#").strip() for _, line in self.prose if re.match(r"#+ ", line)]
        return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}

    def dead_links(self):
        dead = []
        for at, line in self.prose:
            targets = [one or other for one, other in LINK.findall(line)] + NAMED_FILE.findall(line)
            for target in targets:
                if re.match(r"[a-z]+:", target):
                    continue
                name, _, anchor = target.partition("#")
                if name and not (self.path.parent / name).exists():
                    dead.append(f"{self.path.name}:{at + 1}: there is no {name}")
                elif anchor and not name and anchor not in self.headings():
                    dead.append(f"{self.path.name}:{at + 1}: there is no section {anchor}")
        return dead

    def replace(self, block, lines):
        """Gives a block other lines. Later blocks' places move: go from the last to the first."""
        self.lines[block.begin:block.end] = lines

    def save(self):
        self.path.write_text("\n".join(self.lines) + "\n", encoding="utf-8")
