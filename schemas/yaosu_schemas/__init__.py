"""The vocabulary: what we say about data, a trade, a report. Imports nothing of ours.

errors        the tree of errors, two sentences each
canonical     canonical JSON and the digests taken over it
paths         the gate for file names of strangers
texts         the gate for words of strangers
identifiers   check digits of official numbers
codes         official and own code lists, with provenance
licences      SPDX expressions and what they mean for a resale
documents     JSON Schemas of every document, and the checks beside them
report        the validation report
"""
