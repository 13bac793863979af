"""Which Pythons a requirement allows."""

from __future__ import annotations

import pytest

from crema.host.python_requirement import PythonRequirement


@pytest.mark.parametrize(
    ("text", "allowed", "refused"),
    [
        (">=3.11,<3.13", [(3, 11, 0), (3, 12, 9)], [(3, 10, 9), (3, 13, 0)]),
        (">=3.11", [(3, 11, 0), (3, 14, 1)], [(3, 10, 20)]),
        (">3.11", [(3, 11, 1), (3, 12, 0)], [(3, 11, 0)]),
        ("<=3.11", [(3, 11, 0), (3, 10, 5)], [(3, 11, 1)]),
        ("==3.11.*", [(3, 11, 0), (3, 11, 9)], [(3, 12, 0)]),
        ("==3.11.4", [(3, 11, 4)], [(3, 11, 5)]),
        ("!=3.12.*, >=3.11", [(3, 11, 0), (3, 13, 0)], [(3, 12, 4)]),
        ("!=3.11.2", [(3, 11, 1)], [(3, 11, 2)]),
        ("~=3.11", [(3, 11, 0), (3, 14, 0)], [(3, 10, 0), (4, 0, 0)]),
        ("~=3.11.2", [(3, 11, 2), (3, 11, 9)], [(3, 11, 1), (3, 12, 0)]),
    ],
)
def test_a_requirement_allows_what_it_says(
    text: str, allowed: list[tuple[int, ...]], refused: list[tuple[int, ...]]
) -> None:
    requirement = PythonRequirement.parse(text)
    assert [release for release in allowed if not requirement.allows(release)] == []
    assert [release for release in refused if requirement.allows(release)] == []


@pytest.mark.parametrize(
    "text", ["", "3.11", ">=3.11,", "=>3.11", ">=3.11.*", "~=3", ">=three", "python>=3.11", ">=3.11;"]
)
def test_what_is_no_list_of_comparisons_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r">=3\.11,<3\.13"):
        PythonRequirement.parse(text)
