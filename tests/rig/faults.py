"""Which API calls the endpoint refuses, breaks or loses, and the error documents that EC2 answers with."""

import dataclasses
import threading
from xml.sax.saxutils import escape

ALWAYS = float("inf")
STATUS = {"UnauthorizedOperation": 403, "AuthFailure": 401, "RequestLimitExceeded": 503, "Unavailable": 503,
          "ServiceUnavailable": 503, "InternalError": 500}  # fmt: skip


@dataclasses.dataclass
class Fault:
    """Answer `code` the next `left` times. `lost`: the call is carried out first, as if only its reply had been lost."""

    code: str
    left: float = ALWAYS
    lost: bool = False

    @classmethod
    def parse(cls, text: str, lost: bool = False) -> "Fault":
        """`CODE` for every call, `CODE:N` for the next N."""
        code, _, count = text.partition(":")
        return cls(code, int(count) if count else ALWAYS, lost)


class Faults:
    """The faults by action name; several calls may ask at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: dict[str, Fault] = {}

    def set(self, deny: list[str], fail: dict[str, str], lose: dict[str, str]) -> None:
        """Replaces every fault."""
        faults = {action: Fault("UnauthorizedOperation") for action in deny}
        faults |= {action: Fault.parse(text) for action, text in fail.items()}
        faults |= {action: Fault.parse(text, lost=True) for action, text in lose.items()}
        with self._lock:
            self._faults = faults

    def take(self, action: str) -> Fault | None:
        """The fault for this call, if one is due."""
        with self._lock:
            fault = self._faults.get(action)
            if fault is None or fault.left < 1:
                return None
            fault.left -= 1
            return fault


def status_of(code: str) -> int:
    return STATUS.get(code, 400)


def error_document(code: str, message: str) -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Response><Errors><Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error></Errors>"
        "<RequestID>00000000-0000-0000-0000-000000000000</RequestID></Response>"
    )
