"""Indices: which of a cube's bands stand for the letters of a spectral index.

Pure.  Formulas and letters are those of *Awesome Spectral Indices* (D. Montero et al., 2023,
https://doi.org/10.1038/s41597-023-02096-0), which the package spyndex carries.
"""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType

from spacenet_cube.errors import RecipeError

LETTERS: Mapping[str, str] = MappingProxyType(
    {"A": "coastal", "B": "blue", "G": "green", "Y": "yellow", "R": "red", "N": "nir1"}
)
"""Band by letter, as spyndex's own tables of WorldView-2 and WorldView-3 have them.

They give none to ``rededge`` (705 to 745 nm lies across RE1 and RE2) nor to ``nir2``; who
wants an index of those names the band for the letter.
"""


def letters_of(
    symbols: Iterable[str], known: Iterable[str], bands: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Choose the band for each letter of an index.

    Parameters
    ----------
    symbols
        Letters and constants of the formula.
    known
        Every letter there is; what is not among them is a constant.
    bands
        Bands by letter that go before `LETTERS`, such as ``{"RE1": "rededge"}``.

    Returns
    -------
    dict
        Band by letter, in the formula's order; letters without a band are left out.

    Examples
    --------
    >>> letters_of(["N", "R", "L"], ["N", "R", "S1"])
    {'N': 'nir1', 'R': 'red'}
    """
    table = {**LETTERS, **(bands or {})}
    letters = set(known)
    return {each: table[each] for each in symbols if each in letters and each in table}


def refuse_unknown(name: str, there: Sequence[str]) -> None:
    """Refuse an index that spyndex does not have.

    Parameters
    ----------
    name
        What was asked for.
    there
        Names of all indices.

    Raises
    ------
    RecipeError
        If it is not among them; the message gives the closest.

    Examples
    --------
    >>> refuse_unknown("NDVI", ["NDVI", "EVI"])
    """
    if name in there:
        return
    upper = {each.upper(): each for each in there}
    close = [upper[each] for each in get_close_matches(name.upper(), upper, n=3)]
    hint = f"did you mean {' or '.join(close)}?" if close else "see .spacenet.indices()"
    raise RecipeError(f"there is no spectral index {name!r} in spyndex; {hint}")


def refuse_incomplete(
    name: str, needed: Mapping[str, str | None], there: Sequence[str], constants: Sequence[str]
) -> None:
    """Refuse an index whose bands or constants are not all there.

    Parameters
    ----------
    name
        The index.
    needed
        Band by letter; None where no band of the sensor stands for the letter.
    there
        Names of the cube's bands.
    constants
        Symbols that have neither a value nor a default.

    Raises
    ------
    RecipeError
        If a letter has no band, a band is not in the cube, or a constant has no value.

    Examples
    --------
    >>> refuse_incomplete("NDVI", {"N": "nir1", "R": "red"}, ("red", "nir1"), ())
    """
    unseen = [letter for letter, band in needed.items() if band is None]
    if unseen:
        near = next((each for each in unseen if each.startswith(("RE", "N"))), None)
        band = "rededge" if near and near.startswith("RE") else "nir2"
        hint = f"name one, as index({name!r}, bands={{{near!r}: {band!r}}}), or " if near else ""
        raise RecipeError(
            f"{name} needs {', '.join(unseen)}, which no band of the cube stands for (it has "
            f"{', '.join(there) or 'none'}); {hint}take one of .spacenet.indices()"
        )
    absent = [f"'{band}' ({key})" for key, band in needed.items() if band not in there]
    if absent:
        raise RecipeError(
            f"{name} needs band {' and '.join(absent)}, and the cube has no such band (it has "
            f"{', '.join(there) or 'none'}); open a product that has it, or keep it when you "
            "select bands"
        )
    if constants:
        raise RecipeError(
            f"{name} needs a value for {', '.join(constants)}, which has no default; "
            f"give it, such as index({name!r}, {constants[0]}=...)"
        )
