"""Experiments as data: who gets which variant, what it changes, and what is refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from services.gateway.experiments.experiment import BadExperiments, Experiment, read_experiments
from services.gateway.policy.policy import Policy
from services.gateway.recommendation.request import RecommendRequest, Stages

USERS = [f"user-{number}" for number in range(4_000)]


def _experiment(**fields: object) -> Experiment:
    variants = [{"name": "control"}, {"name": "tail", "weight": 3, "min_long_tail_share": 0.2}]
    return Experiment.model_validate({"name": "e", "variant": variants, **fields})


def _names(experiment: Experiment) -> dict[str, str]:
    return {user: variant.name for user in USERS if (variant := experiment.assign(user)) is not None}


def test_users_keep_their_variant_in_the_shares_of_the_weights():
    """The same user always gets the same variant, and variants get users by their weights."""
    names = _names(_experiment())
    assert names == _names(_experiment())
    assert Counter(names.values())["tail"] / len(USERS) == pytest.approx(0.75, abs=0.03)
    assert len(names) == len(USERS)


def test_a_larger_share_moves_nobody():
    """Users who took part before keep their variant when more take part."""
    some, more = _names(_experiment(share=0.2)), _names(_experiment(share=0.5))
    assert len(some) / len(USERS) == pytest.approx(0.2, abs=0.03)
    assert some.items() < more.items()


def test_a_salt_assigns_again_independently():
    """Under another salt, or in another experiment, a user's variant says nothing about the first one."""
    first, second = _names(_experiment()), _names(_experiment(salt="again"))
    both = sum(first[user] == second[user] == "control" for user in USERS) / len(USERS)
    assert both == pytest.approx(0.25**2, abs=0.02)
    assert _names(_experiment(name="other")) != first


def test_nobody_is_in_no_experiment():
    """A request without a user cannot be sticky."""
    assert _experiment().assign("") is None


def test_a_variant_changes_what_the_request_leaves_open():
    """The request's own rules come first; the others are the variant's."""
    changes = {"candidates": 300, "max_per_brand": 2, "min_probability": 0.1, "stages": "first", "diversity": 0.3}
    variants = [{"name": "control"}, {"name": "b", "exploration_share": 0.2, **changes}]
    variant = Experiment.model_validate({"name": "e", "variant": variants}).variants[1]
    changed = variant.apply(RecommendRequest(user_id="u", policy=Policy(limit=3, max_per_brand=5)))
    assert changed.policy == Policy(limit=3, max_per_brand=5, min_probability=0.1, diversity=0.3)
    assert (changed.candidates, changed.exploration_share, changed.stages) == (300, 0.2, Stages.FIRST)
    assert variant.apply(RecommendRequest(stages=Stages.POPULAR)).stages is Stages.POPULAR
    untouched = RecommendRequest(user_id="u")
    assert _experiment().variants[0].apply(untouched) == untouched


GOOD = '[[experiment]]\nname = "e"\n[[experiment.variant]]\nname = "a"\n[[experiment.variant]]\nname = "b"\n'


def test_a_file_is_read(tmp_path: Path):
    """A file holds any number of experiments."""
    (tmp_path / "e.toml").write_text(GOOD + GOOD.replace('"e"', '"f"').replace('"b"', '"b"\ncandidates = 5'))
    experiments = read_experiments(tmp_path / "e.toml")
    assert [experiment.name for experiment in experiments] == ["e", "f"]
    assert experiments[1].variants[1].candidates == 5


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[[experiment]", "cannot be read"),
        (GOOD.replace('"b"', '"a"'), "two variants are called 'a'"),
        (GOOD + GOOD, "two experiments are called 'e'"),
        (GOOD.replace('"b"', '"b"\ncandidate = 5'), "experiment.0.variant.1.candidate"),
        (GOOD.replace('"b"', '"b"\ndiversity = 1.5'), "less than or equal to 1"),
        ('[[experiment]]\nname = "e"\n[[experiment.variant]]\nname = "a"\n', "experiment.0.variant"),
        (GOOD.replace('"e"', '"an experiment"'), "experiment.0.name"),
        (
            "".join(GOOD.replace('"e"', f'"{name}"').replace('"b"', '"b"\ncandidates = 5') for name in "ef"),
            "'e' and 'f' both change candidates",
        ),
        (
            GOOD.replace('"b"', '"b"\nretrieval_target = "127.0.0.1:1"')
            + GOOD.replace('"e"', '"f"').replace('"b"', '"b"\nranking_target = "127.0.0.1:2"'),
            "'e' and 'f' both have services of their own",
        ),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, content: str, words: str):
    """The error names the file and the place."""
    (tmp_path / "e.toml").write_text(content)
    with pytest.raises(BadExperiments) as refused:
        read_experiments(tmp_path / "e.toml")
    assert words in str(refused.value)
    assert "e.toml" in str(refused.value)


def test_a_missing_file_is_refused(tmp_path: Path):
    """A file that is not there is named."""
    with pytest.raises(BadExperiments, match=r"none\.toml"):
        read_experiments(tmp_path / "none.toml")
