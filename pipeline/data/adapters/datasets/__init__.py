"""Adapters of public data sets, in folders by what they hold: judged searches, purchases, ratings, sessions."""

from __future__ import annotations

from typing import Final

from pipeline.data.adapters.adapter import Adapter
from pipeline.data.adapters.datasets.judged import esci, home_depot, wands
from pipeline.data.adapters.datasets.purchases import complete_journey, hm, instacart, online_retail
from pipeline.data.adapters.datasets.ratings import amazon_office, amazon_reviews, movielens
from pipeline.data.adapters.datasets.sessions import diginetica, rees46, retailrocket, taobao, yoochoose

DATASETS: Final[tuple[Adapter, ...]] = (
    amazon_office.ADAPTER,
    amazon_reviews.ADAPTER_2018,
    amazon_reviews.ADAPTER_2023,
    complete_journey.ADAPTER,
    diginetica.ADAPTER,
    esci.ADAPTER,
    hm.ADAPTER,
    home_depot.ADAPTER,
    instacart.ADAPTER,
    movielens.ADAPTER,
    online_retail.ADAPTER,
    rees46.ADAPTER,
    retailrocket.ADAPTER,
    taobao.ADAPTER,
    wands.ADAPTER,
    yoochoose.ADAPTER,
)
