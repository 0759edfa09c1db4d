"""HTTP/1.1 as tables: what a client and an origin say, and what each of them gets.

A case is an entry in a table of this folder; `test_rfc9112.py` plays it through a data plane
and looks at both sides. The words of the tables are in `words.py`.
"""
from rfc9112 import bodies, connection, forwarding, framing, requests, responses, trailers

THEMES = {module.__name__.rpartition(".")[2]: module.CASES for module in (
    requests, framing, bodies, connection, forwarding, responses, trailers)}
