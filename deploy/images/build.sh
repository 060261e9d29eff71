#!/bin/sh
# Build all images. BUILDER is docker, or another program with its `build` command, and BUILD_OPTIONS its further options;
# REGISTRY and VERSION name the images.
set -eu
cd "$(dirname "$0")/../.."
builder=${BUILDER:-docker}
registry=${REGISTRY:-localhost}
version=${VERSION:-0.1.0}
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
for target in ${TARGETS:-gateway retrieval ranking ranking-gpu playground pipeline}; do
    echo "shortlist-$target …"
    # BUILDER may hold options, so it is split into words.
    # shellcheck disable=SC2086
    $builder build ${BUILD_OPTIONS:-} --file deploy/images/Dockerfile --target "$target" --build-arg "VERSION=$version" \
        --build-arg "REVISION=$revision" --tag "$registry/shortlist-$target:$version" .
done
