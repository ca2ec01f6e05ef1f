"""LZF, which compressed PCD files use: runs of literal bytes, and references to bytes that were there before.

A control byte below 32 announces that many literal bytes plus one. Any other holds the length of a reference in its
upper three bits (7: a byte more of length follows) and the upper bits of its distance in the lower five.
Source: Marc Lehmann, LibLZF, lzf_d.c.
"""

MOST_LITERALS = 32
LONGEST_REFERENCE = 264
FARTHEST_REFERENCE = 1 << 13
MAX_RATIO = LONGEST_REFERENCE / 3
"""No content gets smaller than this: a reference takes three bytes."""


def decompress(content: bytes, size: int) -> bytes:
    """The `size` bytes that were compressed.

    Raises:
        ValueError: the content is damaged, or holds another number of bytes.
    """
    if size > MAX_RATIO * len(content):
        raise ValueError(f"expected LZF of {size} bytes, got {len(content)}, which cannot hold them")
    result = bytearray()
    position, end = 0, len(content)
    try:
        while position < end:
            control = content[position]
            position += 1
            if control < MOST_LITERALS:
                if position + control >= end:
                    raise IndexError
                result += content[position : position + control + 1]
                position += control + 1
            else:
                length = control >> 5
                if length == 7:
                    length += content[position]
                    position += 1
                start = len(result) - ((control & 31) << 8) - content[position] - 1
                position += 1
                _repeat(result, start, length + 2)
            if len(result) > size:
                raise IndexError
    except IndexError:
        raise ValueError(f"expected LZF of {size} bytes, got damaged ones") from None
    if len(result) != size:
        raise ValueError(f"expected LZF of {size} bytes, got {len(result)}")
    return bytes(result)


def _repeat(result: bytearray, start: int, length: int) -> None:
    """Append what stands at `start`; it may run into what it appends."""
    if start < 0:
        raise IndexError
    piece = result[start : start + length]
    result += (piece * -(-length // len(piece)))[:length]


def compress(content: bytes) -> bytes:
    """The content as LZF."""
    result = bytearray()
    seen: dict[bytes, int] = {}
    position = begin = 0
    while position + 2 < len(content):
        key = content[position : position + 3]
        start = seen.get(key, -1)
        seen[key] = position
        if start < 0 or position - start > FARTHEST_REFERENCE:
            position += 1
            continue
        length = _common(content, start, position)
        result += _literals(content[begin:position]) + _reference(position - start - 1, length - 2)
        begin = position = position + length
    return bytes(result + _literals(content[begin:]))


def _common(content: bytes, start: int, position: int) -> int:
    """How many bytes are the same at both places."""
    most = min(LONGEST_REFERENCE, len(content) - position)
    length = 3
    while length < most and content[start + length] == content[position + length]:
        length += 1
    return length


def _literals(content: bytes) -> bytes:
    runs = (content[start : start + MOST_LITERALS] for start in range(0, len(content), MOST_LITERALS))
    return b"".join(bytes([len(run) - 1]) + run for run in runs)


def _reference(distance: int, length: int) -> bytes:
    high, low = divmod(distance, 256)
    return bytes([length << 5 | high, low]) if length < 7 else bytes([7 << 5 | high, length - 7, low])
