"""The words that generated records are made of: products and customers, drawn once from Faker.

One Faker call per field costs about 200 microseconds a record, so Faker supplies pools and the generator draws
from them. A pool depends on seed, locale and Faker's version alone.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from faker import Faker

PRODUCTS = 4_096
CUSTOMERS = 3_072


@dataclass(frozen=True)
class Customer:
    """A person: the same name, mail address and country (ISO 3166 alpha-2) in every record that mentions them."""

    name: str
    email: str
    country: str


@dataclass(frozen=True)
class Vocabulary:
    """Pools to draw from; every product and every mail address is there once."""

    products: tuple[str, ...]
    customers: tuple[Customer, ...]

    @property
    def countries(self) -> int:
        """How many countries the customers live in."""
        return len({customer.country for customer in self.customers})


@lru_cache(maxsize=8)
def vocabulary_of(locale: str, seed: int) -> Vocabulary:
    """Draw at most 4,096 products and exactly 3,072 customers, about 0.3 s; the same ones for the same arguments."""
    fake = Faker(locale)
    fake.seed_instance(seed)
    products = tuple(dict.fromkeys(fake.catch_phrase() for _ in range(PRODUCTS)))
    return Vocabulary(products, tuple(_customers(fake)))


def _customers(fake: Faker) -> Iterator[Customer]:
    taken: set[str] = set()
    for number in range(CUSTOMERS):
        name, domain, country = fake.name(), fake.safe_domain_name(), fake.country_code()
        account = _account(name)
        email = f"{account}@{domain}"
        if email in taken:
            email = f"{account}.{number}@{domain}"
        taken.add(email)
        yield Customer(name, email, country)


def _account(name: str) -> str:
    """Spell a name in the ASCII letters a mail address may hold; names in other scripts become `customer`."""
    latin = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", ".", latin).strip(".") or "customer"
