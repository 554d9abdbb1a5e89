"""Memory: what is lent is of the size asked for, one's own, and used again."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from spacenet_cube.builds.unit.buffers import Memory
from spacenet_cube.plans.plan import plan
from spacenet_cube.raster.grid import Block
from tests.scenes import Lattice, product, recipe

MOST = (8, 12)


def planned():
    return plan(recipe(product()), "P", [Lattice().cut("a.tif", Block(0, 0, 9, 9))])


@given(sizes=st.lists(st.tuples(st.integers(1, 8), st.integers(1, 12)), max_size=6))
def test_what_is_lent_has_the_size_asked_for_whoever_had_it_before(sizes):
    a_plan, memory = planned(), Memory()

    for rows, cols in sizes:
        with memory.lend(a_plan, MOST, Block(5, 5, rows, cols)) as pixels:
            assert pixels.image.shape == (3, rows, cols)
            assert pixels.source_index.shape == (rows, cols)


def test_what_came_back_is_used_again_and_what_is_lent_is_not():
    a_plan, memory, block = planned(), Memory(), Block(0, 0, 8, 12)

    with memory.lend(a_plan, MOST, block) as one, memory.lend(a_plan, MOST, block) as other:
        assert not np.shares_memory(one.image, other.image)
    with memory.lend(a_plan, MOST, block) as again:
        assert np.shares_memory(again.image, one.image) or np.shares_memory(
            again.image, other.image
        )


def test_threads_never_hold_the_same_memory():
    a_plan, memory = planned(), Memory()

    def fill(number):
        with memory.lend(a_plan, MOST, Block(0, 0, 8, 12)) as pixels:
            for _ in range(20):
                pixels.image[...] = number
                if not (pixels.image == number).all():
                    return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(fill, range(1, 200)))
