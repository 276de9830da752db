"""HTTP/2 in as many words as the soak tests need: frames, and the header block of an export over gRPC."""

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1


def frame(kind, flags, number, content=b""):
    return len(content).to_bytes(3, "big") + bytes([kind, flags]) + number.to_bytes(4, "big") + content


def call(extra=b""):
    """The header block of an export over gRPC, without compression."""
    text = lambda value: bytes([len(value)]) + value
    path = b"/opentelemetry.proto.collector.trace.v1.TraceService/Export"
    # POST and http by their place in the static table, the others in full.
    block = b"\x83\x86\x04" + text(path) + b"\x01" + text(b"a") + b"\x0f\x10" + text(b"application/grpc")
    return block + b"\x00" + text(b"te") + text(b"trailers") + extra
