"""How a route chooses the member that answers: pure; who calls it fetches vectors and asks models in between."""
