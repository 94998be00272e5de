"""Whether the READMEs are true: types the commands of README.md one by one, as a reader would, and
compares what comes out with what is pasted; README.zh-CN.md must have the same blocks and the same build.

    python .ci/readme BINARY [--write]

A block with lines that begin with `$ ` is run, a block of TOML is given to `brooklet config check`. A
comment before a block says what else: `<!-- not run: REASON -->`; `<!-- run: answers left out -->` (the
commands must succeed); `<!-- run: killed after COMMAND -->` (kill -9, and started again);
`<!-- run: broker.toml -->` (Brooklet goes on with this file). `--write` pastes what came out."""

import difflib
import re
import sys
import time

from document import PROMPT, Document
from masks import SECRET, masked
from tour import Tour

SETTLED = 15  # Seconds that something asked for may take to be there
REFUSED = re.compile(r'"status":\s*[45]\d\d')


class Report:
    def __init__(self):
        self.faults, self.commands, self.left_out = [], 0, []

    def fault(self, where, text):
        self.faults.append(where)
        print(f"{where}: {text}", flush=True)


def may_ask_again(command):
    """What only reads may be asked again until what was sent before is there."""
    reads = re.match(r"(curl|python3 examples/read_api|mosquitto_sub)", command)
    return reads and not re.search(r" -(X|d)\b|--data", command)


def type_until(tour, command, pasted):
    deadline = time.monotonic() + SETTLED
    while True:
        said, is_well = tour.type(command)
        is_same = masked(said.split("\n")) == masked(pasted)
        if is_same or not may_ask_again(command) or time.monotonic() > deadline:
            return said, is_well
        time.sleep(0.5)


def learn_secrets(tour, pasted, said):
    for told, own in zip(SECRET.findall("\n".join(pasted)), SECRET.findall(said)):
        tour.given[told] = own
    if hashed := re.search(r"\$argon2id\$\S+", said):
        tour.given["ARGON2"] = hashed[0]


def difference(pasted, said):
    return "\n".join(difflib.unified_diff(masked(pasted), masked(said.split("\n")), "pasted", "came out", lineterm=""))


def shown(said):
    return [line.rstrip() for line in said.strip("\n").split("\n")] if said.strip() else []


def run_steps(tour, block, report):
    """The block's lines with what came out."""
    kind, words = block.marker
    written = []
    for command, pasted in block.steps():
        said, is_well = type_until(tour, command, pasted)
        report.commands += 1
        learn_secrets(tour, pasted, said)
        where = f"README.md:{block.begin + 1 + len(written)}: {command.splitlines()[0]}"
        written += (PROMPT + command).split("\n")
        if kind == "run" and words == "answers left out":
            if not is_well or REFUSED.search(said):
                report.fault(where, f"fails\n{said}")
            continue
        if masked(said.split("\n")) == masked(pasted):
            written += pasted
        else:
            report.fault(where, f"something else came out\n{difference(pasted, said)}")
            written += shown(said)
        if kind == "run" and words.startswith("killed after ") and command == words.removeprefix("killed after "):
            tour.kill_and_start()
    return written


def run_beside(tour, block, report):
    """A block with a command in the background: what all of them say is compared together."""
    begin = len(tour.said)
    steps = block.steps()
    for command, _ in steps:
        tour.type(command)
        report.commands += 1
        if command.endswith("&"):
            time.sleep(2)
    pasted = [line for _, lines in steps for line in lines]
    deadline = time.monotonic() + SETTLED
    while masked((said := tour.overheard(begin)).split("\n")) != masked(pasted) and time.monotonic() < deadline:
        time.sleep(0.2)
    tour.type("kill %1; wait %1 2>/dev/null; true")
    if masked(said.split("\n")) == masked(pasted):
        return block.lines
    report.fault(f"README.md:{block.begin + 1}", f"something else came out\n{difference(pasted, said)}")
    typed = [line for command, _ in steps for line in (PROMPT + command).split("\n")]
    return typed + shown(said)


def run_toml(tour, block, report):
    text = "\n".join(block.lines) + "\n"
    if block.marker == ("run", "broker.toml"):
        tour.restart_with(text)
    elif wrong := tour.check(text):
        report.fault(f"README.md:{block.begin + 1}", f"config check: {wrong}")


def run_blocks(document, tour, report):
    """[(block, its lines with what came out)], of the blocks that were run."""
    done = []
    for block in document.blocks:
        kind, words = block.marker
        if kind == "not run":
            report.left_out.append(f"README.md:{block.begin}: {words}")
        elif block.language == "toml":
            run_toml(tour, block, report)
        elif block.is_shell:
            beside = any(command.endswith("&") for command, _ in block.steps())
            done.append((block, (run_beside if beside else run_steps)(tour, block, report)))
    return done


def code_of(block):
    """Without comments, which may be translated."""
    lines = [re.sub(r"(^|\s+)#( .*)?$", "", line) for line in block.lines] if block.language == "toml" else block.lines
    return block.language, block.marker[0], lines


def compare_languages(english, chinese, report):
    for document in (english, chinese):
        for dead in document.dead_links():
            report.fault("link", dead)
    for at, (one, other) in enumerate(zip(english.blocks, chinese.blocks)):
        if code_of(one) != code_of(other):
            report.fault(f"README.zh-CN.md:{other.begin}", f"block {at + 1} is not that of README.md:{one.begin}")
    if len(english.blocks) != len(chinese.blocks):
        report.fault("README.zh-CN.md", f"has {len(chinese.blocks)} blocks, README.md {len(english.blocks)}")
    difference = list(difflib.unified_diff(english.outline(), chinese.outline(), "README.md", "README.zh-CN.md", lineterm="", n=1))
    if difference:
        report.fault("README.zh-CN.md", "is built otherwise\n" + "\n".join(difference))


def copy_code(english, chinese):
    """README.md's blocks into README.zh-CN.md, but where only comments differ."""
    if len(english.blocks) != len(chinese.blocks):
        return
    for one, other in reversed(list(zip(english.blocks, chinese.blocks))):
        if code_of(one)[2] != code_of(other)[2]:
            chinese.replace(other, one.lines)
    chinese.save()


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != "--write"]
    if len(arguments) != 1:
        sys.exit(__doc__)
    report, english = Report(), Document("README.md")
    with Tour(arguments[0]) as tour:
        done = run_blocks(english, tour, report)
    if "--write" in sys.argv:
        for block, lines in reversed(done):
            english.replace(block, lines)
        english.save()
        copy_code(Document("README.md"), Document("README.zh-CN.md"))
    compare_languages(Document("README.md"), Document("README.zh-CN.md"), report)
    for reason in report.left_out:
        print(f"not run: {reason}")
    print(f"README.md: {report.commands} commands typed, {len(report.faults)} faults")
    sys.exit(1 if report.faults else 0)


if __name__ == "__main__":
    main()
