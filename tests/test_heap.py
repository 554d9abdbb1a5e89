"""What is let go goes back to the system."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes
import numpy as np
from spacenet_cube.builds.unit.buffers import MAPPED_BYTES, give_back

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
        "fordblks", "keepcost")]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Info
{call}
np.empty(30 << 20, np.uint8)[:] = 1  # freed, after which glibc would map no smaller one
before = libc.mallinfo2().hblkhd
held = np.empty(2 * MAPPED_BYTES, np.uint8)
print(libc.mallinfo2().hblkhd - before >= held.nbytes)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
@pytest.mark.parametrize(
    ("call", "env", "mapped"),
    [
        ("give_back()", {}, True),
        ("", {}, False),
        ("give_back()", {"MALLOC_MMAP_THRESHOLD_": "33554432"}, False),
    ],
)
def test_large_arrays_are_mapped_whatever_was_freed_before(call, env, mapped):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(call=call)],
        env={"PATH": "/usr/bin", **env},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(mapped)]
