"""Events on their way out: who asked for which, signed, in order, until they have arrived."""
