"""The search server that a team writes in a day, run by the peers' own interpreter: FastAPI, an index, a cross-encoder.

Usage: ``python whole_path_server.py hnswlib|lancedb FOLDER ENCODER CROSS_ENCODER PORT``. FOLDER has `items.json`
(ids and titles) and `vectors.npy` (a unit vector for each item). ``GET /search?query=…`` answers with the ids of the
best ten of a hundred.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import hnswlib
import lancedb
import numpy as np
import numpy.typing as npt
import uvicorn
from fastapi import FastAPI
from lancedb.rerankers import CrossEncoderReranker
from sentence_transformers import CrossEncoder, SentenceTransformer

CANDIDATES = 100
LIMIT = 10
Vectors = npt.NDArray[np.float32]
Search = Callable[[str, Vectors], list[str]]


def main() -> None:
    """Serve until stopped."""
    engine, folder, encoder, cross_encoder, port = sys.argv[1:]
    ids, titles = json.loads((Path(folder) / "items.json").read_text())
    vectors = np.load(Path(folder) / "vectors.npy")
    opened = {"hnswlib": open_hnswlib, "lancedb": open_lancedb}[engine]
    search = opened(ids, titles, vectors, Path(folder), cross_encoder)
    model = SentenceTransformer(encoder, device="cpu")
    app = FastAPI()

    def answer(query: str) -> list[str]:  # not async: FastAPI runs it on a thread
        return search(query, model.encode(query, normalize_embeddings=True, show_progress_bar=False))

    app.get("/search")(answer)
    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning")


def open_hnswlib(ids: list[str], titles: list[str], vectors: Vectors, folder: Path, cross_encoder: str) -> Search:
    """Return a search of hnswlib's index that reads all it finds."""
    del folder
    index = hnswlib.Index("ip", vectors.shape[1])
    index.init_index(len(ids), ef_construction=200, M=16)
    index.add_items(vectors)
    index.set_ef(2 * CANDIDATES)
    reader = CrossEncoder(cross_encoder, device="cpu")

    def search(query: str, vector: Vectors) -> list[str]:
        rows = index.knn_query(vector[None], CANDIDATES)[0][0]
        scores = reader.predict([(query, titles[row]) for row in rows], show_progress_bar=False)
        return [ids[rows[place]] for place in np.argsort(-scores, kind="stable")[:LIMIT]]

    return search


def open_lancedb(ids: list[str], titles: list[str], vectors: Vectors, folder: Path, cross_encoder: str) -> Search:
    """Return a search of a LanceDB table with its own reranker, which reads all that the search finds."""
    rows = [
        {"item_id": item_id, "title": title, "vector": vector}
        for item_id, title, vector in zip(ids, titles, vectors, strict=True)
    ]
    table = lancedb.connect(folder / "lancedb").create_table("items", rows, mode="overwrite")
    reranker = CrossEncoderReranker(model_name=cross_encoder, column="title", device="cpu")

    def search(query: str, vector: Vectors) -> list[str]:
        nearest = table.search(vector).distance_type("cosine").limit(CANDIDATES)
        return [row["item_id"] for row in nearest.rerank(reranker, query_string=query).to_list()[:LIMIT]]

    return search


if __name__ == "__main__":
    main()
