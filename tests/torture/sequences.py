"""Sequences: a machine of states, tried under a seed."""

import hypothesis
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

STEPS = 50
"""Most steps of a sequence."""


def failures_of(machine: type[RuleBasedStateMachine], n: int, seed: int) -> list[str]:
    """Try n sequences of steps.

    Parameters
    ----------
    machine
        What to try.
    n
        Sequences of up to `STEPS` steps.
    seed
        Of the steps.

    Returns
    -------
    list of str
        Empty, or the shortest sequence that does not hold.
    """
    settings = hypothesis.settings(
        max_examples=n,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    try:
        run_state_machine_as_test(hypothesis.seed(seed)(machine), settings=settings)
    except Exception as error:  # noqa: BLE001 - told in the score
        return [f"{type(error).__name__}: {error} {getattr(error, '__notes__', '')}"]
    return []
