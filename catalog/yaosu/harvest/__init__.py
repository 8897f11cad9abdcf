"""Listings of other catalogs, taken in on a schedule."""
