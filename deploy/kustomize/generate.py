"""Writes the chart's objects as a kustomize base, for those who do not use Helm.

Usage: python deploy/kustomize/generate.py HELM FOLDER [NAMESPACE]

The objects are those of the chart with `values.yaml` of this folder. Names of servers hold the namespace, so another
namespace takes another run.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).parents[2]
_HEADER = "# Written by `make kustomize` from the chart. Change the chart or deploy/kustomize/values.yaml instead.\n"


def main() -> None:
    """Write the base into the folder of the command line."""
    helm, folder = sys.argv[1], Path(sys.argv[2])
    namespace = sys.argv[3] if len(sys.argv) > 3 else "shortlist"  # noqa: PLR2004 - program, Helm, folder, namespace
    chart, values = TOP / "deploy" / "helm" / "shortlist", Path(__file__).parent / "values.yaml"
    command = [helm, "template", "shortlist", str(chart), "--namespace", namespace, "--values", str(values)]
    rendered = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 - given by the caller
    # Nothing but Helm reads these.
    kept = [line for line in rendered.splitlines() if "helm.sh/chart:" not in line and "managed-by: Helm" not in line]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "objects.yaml").write_text(_HEADER + "\n".join(kept) + "\n")
    (folder / "kustomization.yaml").write_text(
        f"{_HEADER}apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [objects.yaml]\n"
    )


if __name__ == "__main__":
    main()
