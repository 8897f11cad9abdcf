"""Corpora as people who train see them: records, their texts and roles, and checks over them."""
