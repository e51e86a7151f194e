"""moto's EC2, IAM and STS on a free loopback port, with every call written down and faults put in where a test asks.

Besides the AWS API it answers three paths of its own:
  GET  /rig/authorized-keys   the public keys that open the machine now, one a line
  GET  /rig/state             every EC2 resource of the account by region, as JSON
  POST /rig/faults            {"deny": [ACTION], "fail": {ACTION: "CODE[:N]"}, "lose": {ACTION: "CODE[:N]"}}, replaces all
"""

import io
import json
import pathlib
import re
import threading
import time
import urllib.parse

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

import faults
import mends
import state


class Handler(WSGIRequestHandler):
    # As AWS does: connections are kept; and no Nagle delay between the head and the body of an answer.
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_request(self, *_args) -> None:
        pass


class Endpoint:
    def __init__(self, calls_log: pathlib.Path, latency: float):
        self.faults = faults.Faults()
        # Whose calls are neither written down nor hindered.
        self.admin: state.Credentials = ("", "")
        self._latency = latency
        self._calls = open(calls_log, "a", buffering=1)
        self._writing = threading.Lock()
        # moto's models are plain dicts, not made for threads.
        self._moto_turn = threading.Lock()
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._calls.close()

    def _answer(self, environ, start_response):
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"], environ[mends.BODY] = io.BytesIO(body), body
        path = environ["PATH_INFO"]
        if path.startswith("/rig/"):
            return self._answer_rig(path, body, start_response)

        call = Call(environ, body)
        if call.access_key == self.admin[0]:
            return self._answer_moto(environ, start_response)

        started = time.time()
        time.sleep(self._latency)
        status, headers, chunks = self._carry_out(call.action, environ)
        self._write_down(call, started, status, b"".join(chunks))
        start_response(status, headers)
        return chunks

    def _carry_out(self, action: str, environ) -> tuple[str, list, list[bytes]]:
        fault = self.faults.take(action)
        if fault is None or fault.lost:
            answer = self._hear_moto(environ)
        if fault is None:
            return answer
        document = faults.error_document(fault.code, f"the rig answers {fault.code} to {action}")
        return f"{faults.status_of(fault.code)} rig", *xml(document)

    def _hear_moto(self, environ) -> tuple[str, list, list[bytes]]:
        heard = []
        chunks = self._answer_moto(environ, lambda status, headers, _exc=None: heard.extend((status, headers)))
        return heard[0], heard[1], chunks

    def _answer_moto(self, environ, start_response) -> list[bytes]:
        with self._moto_turn:
            return list(self._moto(environ, start_response))

    def _answer_rig(self, path: str, body: bytes, start_response) -> list[bytes]:
        if path == "/rig/authorized-keys":
            with self._moto_turn:
                text = "".join(f"{key}\n" for key in state.authorized_keys())
        elif path == "/rig/state":
            text = json.dumps(state.resources(self.url, self.admin), default=str, indent=2)
        elif path == "/rig/faults":
            wanted = json.loads(body)
            self.faults.set(wanted.get("deny", []), wanted.get("fail", {}), wanted.get("lose", {}))
            text = ""
        else:
            start_response("404 Not Found", [("Content-Length", "0")])
            return []
        content = text.encode()
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(content)))])
        return [content]

    def _write_down(self, call: "Call", started: float, status: str, answer: bytes) -> None:
        code = int(status.split()[0])
        error = re.search(rb"<Code>([^<]+)</Code>", answer) if code >= 400 else None
        line = {
            "time": round(started, 3),
            "milliseconds": round((time.time() - started) * 1000),
            "service": call.service,
            "region": call.region,
            "action": call.action,
            "status": code,
            "error": error[1].decode() if error else None,
        }
        with self._writing:
            self._calls.write(json.dumps(line) + "\n")


class Call:
    """What a request says about itself: the action, and who signed it for which service and region."""

    def __init__(self, environ, body: bytes):
        form = urllib.parse.parse_qs(body.decode("latin-1"))
        target = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        path = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
        self.action = form.get("Action", [target or path])[0]
        scope = re.search(r"Credential=([^/,]+)/[^/]+/([^/]+)/([^/]+)/", environ.get("HTTP_AUTHORIZATION", ""))
        self.access_key, self.region, self.service = scope.groups() if scope else (None, None, None)


def xml(document: str) -> tuple[list, list[bytes]]:
    content = document.encode()
    return [("Content-Type", "text/xml"), ("Content-Length", str(len(content)))], [content]
