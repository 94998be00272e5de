"""Alarms told to servers that are not ours: aiosmtpd by mail with STARTTLS, Python's by webhook."""

import hashlib
import hmac
import http.server
import json
import pathlib
import ssl
import threading

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from brooklet import Brooklet, eventually, lasting_port, run

SECRET = "a secret of sixteen"


class Mailbox:
    def __init__(self):
        self.mails = []

    async def handle_DATA(self, _server, session, envelope):
        self.mails.append((session.ssl is not None, envelope.rcpt_tos, envelope.content.decode()))
        return "250 OK"


EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


def certified(folder):
    """An authority, and a certificate for localhost by it."""
    authority, by = folder / "authority.pem", folder / "authority.key"
    certificate, key, asked = folder / "mail.pem", folder / "mail.key", folder / "mail.csr"
    run("openssl", "req", "-x509", *EC, "-days", "2", "-subj", "/CN=authority", "-keyout", by, "-out", authority)
    run("openssl", "req", *EC, "-subj", "/CN=localhost", "-keyout", key, "-out", asked)
    names = folder / "names"
    names.write_text("subjectAltName=DNS:localhost")
    run("openssl", "x509", "-req", "-in", asked, "-CA", authority, "-CAkey", by, "-CAcreateserial",
        "-days", "2", "-extfile", names, "-out", certificate)
    return authority, certificate, key


def mail_server(folder):
    authority, certificate, key = certified(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def let_in(_server, _session, _envelope, _mechanism, login):
        return AuthResult(success=(login.login, login.password) == (b"ann", b"secret"))

    mailbox = Mailbox()
    server = Controller(mailbox, hostname="127.0.0.1", port=lasting_port(), tls_context=context,
                        require_starttls=True, authenticator=let_in, auth_required=True)
    server.start()
    return server, mailbox, authority.read_text()


def hook_server():
    """Fails first, then takes everything."""
    taken, answers = [], [500, 503]

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            status = answers.pop(0) if answers else 200
            self.send_response(status)
            self.end_headers()
            if status == 200:
                taken.append((dict(self.headers.items()), body))

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, taken


def alarms_by_mail_and_webhook(brooklet):
    folder = pathlib.Path(brooklet.folder)
    mail, mailbox, authority = mail_server(folder)
    hook, taken = hook_server()
    rule = """[{ name = "Boiler too hot", scope = { sensors = ["t"] }, cooldown = "0s", levels = [
        { severity = "critical", condition = { type = "above", limit = 40, deadband = 1 } } ] }]"""
    targets = f'''[
        {{ name = "mail", group_wait = "1s", channel = {{ type = "email", host = "localhost", port = {mail.port},
          user = "ann", password = "secret", from = "broker@example.org", to = ["ops@example.org"],
          ca = {json.dumps(authority)} }} }},
        {{ name = "hook", group_wait = "0s", channel = {{ type = "webhook", secret = "{SECRET}",
          url = "http://127.0.0.1:{hook.server_port}/alarms" }} }}]'''

    def settings(_folder):
        return {"BROOKLET__ALARMS__RULES": rule, "BROOKLET__NOTIFICATIONS__TARGETS": targets}

    with Brooklet(settings) as told:
        for value in (41.5, 38):
            run("mosquitto_pub", "-p", told.mqtt, "-q", "1", "-t", "devices/boiler/data",
                "-m", json.dumps({"t": value}))
        eventually(lambda: "cleared" in "".join(text for *_, text in mailbox.mails).lower(), mailbox.mails)
        eventually(lambda: b'"resolved"' in b"".join(body for _, body in taken), taken)
    mail.stop()
    hook.shutdown()
    for was_encrypted, recipients, text in mailbox.mails:
        assert was_encrypted and recipients == ["ops@example.org"], recipients
        assert "Boiler too hot" in text and "multipart/alternative" in text, text
    for headers, body in taken:
        header = {name.lower(): value for name, value in headers.items()}
        told = header["x-brooklet-timestamp"].encode() + b"." + body
        expected = "sha256=" + hmac.new(SECRET.encode(), told, hashlib.sha256).hexdigest()
        assert header["x-brooklet-signature"] == expected, headers
        shown = json.loads(body)
        assert shown["version"] == "4" and shown["alerts"][0]["labels"]["alertname"] == "Boiler too hot", shown
