"""The resources a user writes: models, rules, conditions, and the CRDs made of them."""
