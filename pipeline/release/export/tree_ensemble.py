"""LightGBM trees as one ONNX node.

Written against LightGBM's dump and the operator's definition
(https://onnx.ai/onnx/operators/onnx_aionnxml_TreeEnsembleRegressor.html): the converter of onnxmltools 1.16 wrote an
invalid graph for raw scores with onnx 1.23, and would bring two more packages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import lightgbm as lgb
import numpy as np
import onnx
from onnx import helper

ML_DOMAIN: Final = "ai.onnx.ml"
ML_OPSET: Final = 3


@dataclass
class _Nodes:
    """The operator's parallel lists, one entry a node, and one a leaf."""

    tree: list[int] = field(default_factory=list)
    node: list[int] = field(default_factory=list)
    feature: list[int] = field(default_factory=list)
    threshold: list[float] = field(default_factory=list)
    mode: list[str] = field(default_factory=list)
    yes: list[int] = field(default_factory=list)
    no: list[int] = field(default_factory=list)
    missing_yes: list[int] = field(default_factory=list)
    leaf_tree: list[int] = field(default_factory=list)
    leaf_node: list[int] = field(default_factory=list)
    leaf_value: list[float] = field(default_factory=list)

    def add(self, tree: int, part: dict[str, Any]) -> int:
        """Add a subtree and return its root's number."""
        number = self.node[-1] + 1 if self.tree and self.tree[-1] == tree else 0
        is_leaf = "leaf_value" in part
        self.tree.append(tree)
        self.node.append(number)
        self.mode.append("LEAF" if is_leaf else "BRANCH_LEQ")
        self.feature.append(0 if is_leaf else part["split_feature"])
        self.threshold.append(0.0 if is_leaf else _largest_float32_below(part["threshold"]))
        self.missing_yes.append(0 if is_leaf else int(_missing_goes_left(part)))
        self.yes.append(0)
        self.no.append(0)
        if is_leaf:
            self.leaf_tree.append(tree)
            self.leaf_node.append(number)
            self.leaf_value.append(part["leaf_value"])
        else:
            place = len(self.tree) - 1
            self.yes[place] = self.add(tree, part["left_child"])
            self.no[place] = self.add(tree, part["right_child"])
        return number


def tree_ensemble(boosters: Sequence[lgb.Booster], source: str, target: str) -> onnx.NodeProto:
    """Return the node that computes the boosters' mean raw score of ``source`` float32 [n, features] as [n, 1]."""
    nodes = _Nodes()
    trees = [info for booster in boosters for info in booster.dump_model()["tree_info"]]
    for tree, info in enumerate(trees):
        nodes.add(tree, info["tree_structure"])
    return helper.make_node(
        "TreeEnsembleRegressor",
        [source],
        [target],
        domain=ML_DOMAIN,
        n_targets=1,
        aggregate_function="SUM",
        post_transform="NONE",
        nodes_treeids=nodes.tree,
        nodes_nodeids=nodes.node,
        nodes_featureids=nodes.feature,
        nodes_values=nodes.threshold,
        nodes_modes=nodes.mode,
        nodes_truenodeids=nodes.yes,
        nodes_falsenodeids=nodes.no,
        nodes_missing_value_tracks_true=nodes.missing_yes,
        target_treeids=nodes.leaf_tree,
        target_nodeids=nodes.leaf_node,
        target_ids=[0] * len(nodes.leaf_tree),
        target_weights=[value / len(boosters) for value in nodes.leaf_value],
    )


def _missing_goes_left(part: dict[str, Any]) -> bool:
    """Tell where a missing value goes: LightGBM takes it for 0 where the training data had none missing."""
    if part["decision_type"] != "<=":
        raise ValueError(f"only numeric features can be exported, not a split by {part['decision_type']!r}")
    if part["missing_type"] == "NaN":
        return bool(part["default_left"])
    return float(part["threshold"]) >= 0.0


def _largest_float32_below(threshold: float) -> float:
    """Round down to float32, so that a float32 feature falls on the same side as with the double threshold."""
    limit = np.finfo(np.float32).max  # LightGBM writes 1e300 where only missing values go the other way
    rounded = np.float32(np.clip(threshold, -limit, limit))
    if float(rounded) > threshold:
        rounded = np.nextafter(rounded, np.float32(-np.inf))
    return float(rounded)
