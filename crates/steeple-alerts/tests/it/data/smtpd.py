"""A mail server that says what it got, on stdout, one JSON a line.

smtpd.py (starttls|smtps|plain) [CERT KEY]: listens on a free port of 127.0.0.1 and prints it first. Whoever has "later" in
the local part of an address gets 451 the first time, whoever has "never" gets 550.
"""
import asyncio
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

mode = sys.argv[1]
deferred = set()


def say(what):
    print(json.dumps(what), flush=True)


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if "never" in address:
            say({"refused": address})
            return "550 5.1.1 no such user"
        if "later" in address and address not in deferred:
            deferred.add(address)
            say({"deferred": address})
            return "451 4.3.0 try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        say({
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "tls": session.ssl is not None or mode == "smtps",
            "user": getattr(session, "auth_data", None),
            "data": envelope.content.decode("utf-8"),
        })
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    ok = data.login == b"user@example.org" and data.password == b"p:/@ss"
    return AuthResult(success=ok, handled=False, auth_data=data.login.decode() if ok else None)


async def main():
    loop = asyncio.get_running_loop()
    context, settings = None, {}
    if mode != "plain":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[2], sys.argv[3])
        settings = {"authenticator": authenticate, "auth_required": True}
    if mode == "starttls":
        settings |= {"tls_context": context, "require_starttls": True}
    if mode == "smtps":
        settings |= {"auth_require_tls": False}
    factory = lambda: SMTP(Handler(), loop=loop, **settings)
    server = await loop.create_server(factory, "127.0.0.1", 0, ssl=context if mode == "smtps" else None)
    say({"port": server.sockets[0].getsockname()[1]})
    await server.serve_forever()


asyncio.run(main())
