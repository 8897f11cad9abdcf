"""Checks of pictures, sounds, videos, shards, annotations and recordings of robots."""
