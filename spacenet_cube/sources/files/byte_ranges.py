"""Spans: stretches of a file's bytes, and the ranged requests that fetch them.

Pure.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, pairwise

Span = tuple[int, int]
"""First byte, and the one after the last."""

HEAD_BYTES = 1 << 16
"""Fetched at once where a header is looked for."""

PART_BYTES = 16 << 20
"""Largest request for pixels."""


def merge(spans: Iterable[Span]) -> list[Span]:
    """Sort spans and join those that touch or overlap.

    Examples
    --------
    >>> merge([(8, 9), (0, 4), (4, 6)])
    [(0, 6), (8, 9)]
    """
    found: list[Span] = []
    for start, stop in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], stop))
        else:
            found.append((start, stop))
    return found


def without(spans: Iterable[Span], held: Sequence[Span]) -> list[Span]:
    """What of some spans is not held already.

    Parameters
    ----------
    spans, held
        Each sorted and merged.

    Examples
    --------
    >>> without([(0, 10), (20, 30)], [(2, 4), (25, 40)])
    [(0, 2), (4, 10), (20, 25)]
    """
    found, first = [], 0
    for start, stop in spans:
        while first < len(held) and held[first][1] <= start:
            first += 1
        at = start
        for low, high in islice(held, first, None):
            if low >= stop:
                break
            if low > at:
                found.append((at, low))
            at = max(at, high)
        if at < stop:
            found.append((at, stop))
    return found


def requests(spans: Sequence[Span], part_bytes: int, waste: float = 0.02) -> list[Span]:
    """Turn spans into ranged requests: few, large, and hardly more bytes than needed.

    Parameters
    ----------
    spans
        Sorted and merged.
    part_bytes
        Size of a request; larger spans are cut into equal parts not above it.
    waste
        Share of the bytes needed that may be fetched besides, to bridge the smallest gaps.

    Returns
    -------
    list of Span
        Sorted; they cover the spans.

    Examples
    --------
    >>> requests([(0, 1000), (1008, 2000), (9000, 9400)], part_bytes=1000)
    [(0, 1000), (1000, 2000), (9000, 9400)]
    """
    allowed = int(waste * sum(stop - start for start, stop in spans))
    gaps = sorted((after[0] - before[1], k) for k, (before, after) in enumerate(pairwise(spans)))
    bridged = set()
    for gap, k in gaps:
        if gap > allowed:
            break
        allowed -= gap
        bridged.add(k)
    joined: list[Span] = []
    for k, (start, stop) in enumerate(spans):
        if k - 1 in bridged:
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((start, stop))
    return [part for span in joined for part in _parts(span, part_bytes)]


def _parts(span: Span, part_bytes: int) -> Iterator[Span]:
    start, stop = span
    count = -(-(stop - start) // part_bytes)
    edges = [start + (stop - start) * k // count for k in range(count + 1)]
    yield from pairwise(edges)
