"""Answers everything at once with the same words: `python -m tests.bench.serving.null_server PORT`.

The load generator sends it pictures while the raw loop runs, so that the raw loop, too, shares the processor
with a load generator.
"""

import selectors
import socket
import sys

from tests.bench.serving.load import header

BODY = b'{"model_version": "none"}'
ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(BODY)
) + BODY


def serve(port: int) -> None:
    """Until killed."""
    selector = selectors.DefaultSelector()
    with socket.create_server(("127.0.0.1", port), backlog=512) as listener:
        selector.register(listener, selectors.EVENT_READ, None)
        while True:
            for key, _ in selector.select():
                if key.data is None:
                    connection, _ = listener.accept()
                    selector.register(connection, selectors.EVENT_READ, bytearray())
                elif not answer(key.fileobj, key.data):  # type: ignore[arg-type]
                    selector.unregister(key.fileobj)
                    key.fileobj.close()  # type: ignore[union-attr]


def answer(connection: socket.socket, buffer: bytearray) -> bool:
    """Read on, and answer when a request is whole. False: the client has gone."""
    try:
        data = connection.recv(65536)
    except OSError:
        return False
    buffer += data
    end = buffer.find(b"\r\n\r\n")
    if end >= 0 and len(buffer) >= end + 4 + int(header(bytes(buffer[:end]).lower(), b"content-length") or 0):
        buffer.clear()
        connection.sendall(ANSWER)
    return bool(data)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
