"""The WebAssembly program of `simd.py`, written out: three functions over one memory of fixed size.

Text is looked at in steps of 64 bytes, four registers of 16. UTF-8 is checked by the three look-ups
of Keiser and Lemire, "Validating UTF-8 in less than one instruction per byte" (2021), §6.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

STEP = 64  # bytes: the text is padded with more of them than it has
LANES = STEP // 16
RUNS = 1024  # byte offsets of a run: from which separator to which
MOST_RUNS = 4096
ROOM_FOR_TEXT = 9 << 20
MOST_SEPARATORS = 4 << 20
MOST_SPOILS = 1 << 18
MANY_SPOILS = MOST_SPOILS - 128  # so many: they may not be all
MOST_LINES = 1 << 20

# Where things lie in the memory. One separator is in front of the first: the end of no line.
_GAP = 4096
TEXT = 1 << 16
SEPARATORS = TEXT + ROOM_FOR_TEXT + _GAP
BREAKS = SEPARATORS + 4 * MOST_SEPARATORS + _GAP
SPOILS = BREAKS + 4 * MOST_SEPARATORS + _GAP
FIRST = SPOILS + 4 * MOST_SPOILS + _GAP
BOUNDS = FIRST + 4 * MOST_LINES + _GAP
ALIKE = BOUNDS + 4 * MOST_LINES + _GAP
JOINED = ALIKE + MOST_LINES + _GAP  # last: what does not fit ends in a trap
PAGES = (JOINED + ROOM_FOR_TEXT + 65535) >> 16

# What `cut` leaves at the front: three counts, then what it has gathered of all bytes.
COUNTS, LOWEST, LOWEST_ABOVE_LF, ILL_FORMED = 0, 16, 32, 48
_KEEP, _KEPT = 64, "\\ff" * 16 + "\\00" * 16  # of a register the first n bytes: from 16 - n on


def program() -> str:
    """Return the text of the module."""
    memory = f'(memory (export "memory") {PAGES} {PAGES}) (data (i32.const {_KEEP}) "{_KEPT}")'
    return f"(module {memory} {_cut()} {_join()} {_alike()})"


def _get(name: str) -> str:
    return f"(local.get ${name})"


def _set(name: str, value: str) -> str:
    return f"(local.set ${name} {value})"


def _grow(name: str, by: int) -> str:
    return _set(name, f"(i32.add {_get(name)} (i32.const {by}))")


def _all(byte: str) -> str:
    return f"(i8x16.splat {byte})"


def _const(byte: int) -> str:
    return _all(f"(i32.const {byte})")


def _fold(operation: str, values: Sequence[str]) -> str:
    """Return one operation over several values."""
    if len(values) == 1:
        return values[0]
    half = len(values) // 2
    return f"({operation} {_fold(operation, values[:half])} {_fold(operation, values[half:])})"


def _each(value: Callable[[str], str]) -> list[str]:
    return [value(_get(f"v{lane}")) for lane in range(LANES)]


def _mask(value: Callable[[str], str]) -> str:
    """Return one bit for each byte of a step."""
    bits = [f"(i64.extend_i32_u (i8x16.bitmask {each}))" for each in _each(value)]
    shifted = [f"(i64.shl {b} (i64.const {16 * lane}))" for lane, b in enumerate(bits)]
    return _fold("i64.or", shifted)


def _equals(byte: str) -> Callable[[str], str]:
    return lambda value: f"(i8x16.eq {value} {byte})"


def _without_lowest(bits: str) -> str:
    return _set(bits, f"(i64.and {_get(bits)} (i64.sub {_get(bits)} (i64.const 1)))")


def _store_places(bits: str, to: str, times: int) -> str:
    """Store the places of the lowest bits; of fewer bits what is stored behind them is void."""
    place = f"(i32.add {_get('at')} (i32.wrap_i64 (i64.ctz {_get(bits)})))"
    return "".join(
        f"(i32.store offset={4 * n} {_get(to)} {place}) {_without_lowest(bits)}"
        for n in range(times)
    )


def _while_bits(label: str, bits: str, body: str) -> str:
    return f"(loop ${label} {body} (br_if ${label} (i64.ne {_get(bits)} (i64.const 0))))"


_AT_ONCE = 8  # most steps have no more separators: nothing is guessed wrong


def _cut() -> str:
    """cut(start, stop, delimiter, spoils): find what is asked in the text, and judge its bytes.

    The counts stay at -1 where there is no room for all separators; of what spoils, the first are
    stored for which there is room.
    """
    bits = "(i32.wrap_i64 (i64.popcnt {}))".format
    lowest = f"(i64.and {_get('breaks')} (i64.sub (i64.const 0) {_get('breaks')}))"
    before = f"(i64.and {_get('found')} (i64.sub {lowest} (i64.const 1)))"
    number = f"(i32.add (i32.shr_u {_index('to', SEPARATORS)} (i32.const 2)) {bits(before)})"
    above = f"(i8x16.sub {{}} {_const(11)})".format
    return f"""
(func (export "cut") (param $text i32) (param $stop i32) (param $delimiter i32) (param $spoils i32)
  (local $at i32) (local $to i32) (local $free i32) (local $break_to i32) (local $spoil_to i32)
  (local $found i64) (local $left i64) (local $breaks i64) (local $marks i64)
  (local $lowest v128) (local $above v128) (local $bad v128) (local $behind v128)
  (local $d v128) (local $s v128) (local $before v128)
  {" ".join(f"(local $v{lane} v128)" for lane in range(LANES))}
  (i32.store (i32.const {COUNTS}) (i32.const -1))
  {_set("to", f"(i32.const {SEPARATORS})")} {_set("break_to", f"(i32.const {BREAKS})")}
  {_set("spoil_to", f"(i32.const {SPOILS})")}
  (i32.store (i32.const {SEPARATORS - 4}) (i32.const -1))
  {_set("lowest", _const(255))} {_set("above", _const(255))}
  {_set("d", _all(_get("delimiter")))} {_set("s", _all(_get("spoils")))}
  (loop $step
    {" ".join(_set(f"v{n}", f"(v128.load offset={16 * n} {_get('text')})") for n in range(LANES))}
    {_set("lowest", _fold("i8x16.min_u", [_get("lowest"), *_each(str)]))}
    {_set("above", _fold("i8x16.min_u", [_get("above"), *_each(above)]))}
    {_set("breaks", _mask(_equals(_const(10))))}
    {_set("found", f"(i64.or {_get('breaks')} {_mask(_equals(_get('d')))})")}
    {_set("left", _get("found"))} {_set("free", _get("to"))}
    {_while_bits("more", "left", _store_places("left", "free", _AT_ONCE) + _grow("free", 32))}
    (if (i64.ne {_get("breaks")} (i64.const 0)) (then
      {
        _while_bits(
            "line",
            "breaks",
            f"(i32.store {_get('break_to')} {number})"
            + _grow("break_to", 4)
            + _without_lowest("breaks"),
        )
    }))
    {_set("to", f"(i32.add {_get('to')} (i32.shl {bits(_get('found'))} (i32.const 2)))")}
    (if (i32.and {_room_for("spoil_to", SPOILS, MOST_SPOILS)}
                 (v128.any_true {_fold("v128.or", _each(_equals(_get("s"))))})) (then
      {_set("marks", _mask(_equals(_get("s"))))}
      {
        _while_bits("spoil", "marks", _store_places("marks", "spoil_to", 1) + _grow("spoil_to", 4))
    }))
    (if (i8x16.bitmask {_fold("v128.or", [_get("behind"), *_each(str)])}) (then
      {"".join(_well_formed(f"v{n}", f"v{n - 1}" if n else "behind") for n in range(LANES))}))
    {_set("behind", _get(f"v{LANES - 1}"))}
    {_grow("at", STEP)} {_grow("text", STEP)}
    (if (i32.eqz {_room_for("to", SEPARATORS, MOST_SEPARATORS)}) (then (return)))
    (br_if $step (i32.lt_u {_get("text")} {_get("stop")})))
  {_count(0, "to", SEPARATORS)} {_count(1, "break_to", BREAKS)} {_count(2, "spoil_to", SPOILS)}
  (v128.store (i32.const {LOWEST}) {_get("lowest")})
  (v128.store (i32.const {LOWEST_ABOVE_LF}) {_get("above")})
  (v128.store (i32.const {ILL_FORMED}) {_get("bad")}))"""


def _index(to: str, start: int) -> str:
    return f"(i32.sub {_get(to)} (i32.const {start}))"


def _room_for(to: str, start: int, most: int) -> str:
    """Say whether what one more step may hold has room."""
    return f"(i32.le_u {_get(to)} (i32.const {start + 4 * (most - STEP - _AT_ONCE)}))"


def _count(place: int, to: str, start: int) -> str:
    count = f"(i32.shr_u {_index(to, start)} (i32.const 2))"
    return f"(i32.store (i32.const {COUNTS + 4 * place}) {count})"


# Why two neighbouring bytes are wrong: a bit for each reason, set in all three tables.
_SHORT, _LONG, _OVER3, _TOP, _HALF, _OVER2, _TOP4 = 1, 2, 4, 8, 16, 32, 64
_TWO = 128  # two bytes inside of a character: wrong unless a third or fourth one is due
_OVER4 = _TOP4
_ANY = _SHORT | _LONG | _TWO
_FIRST_HIGH = (
    *[_LONG] * 8,
    *[_TWO] * 4,
    *(_SHORT | _OVER2, _SHORT, _SHORT | _OVER3 | _HALF, _SHORT | _TOP | _TOP4 | _OVER4),
)
_FIRST_LOW = (
    *(_ANY | _OVER2 | _OVER3 | _OVER4, _ANY | _OVER2, _ANY, _ANY, _ANY | _TOP),
    *[_ANY | _TOP | _TOP4] * 8,
    *(_ANY | _TOP | _TOP4 | _HALF, _ANY | _TOP | _TOP4, _ANY | _TOP | _TOP4),
)
_INSIDE = _LONG | _TWO | _OVER2
_SECOND_HIGH = (
    *[_SHORT] * 8,
    *(_INSIDE | _OVER3 | _TOP4 | _OVER4, _INSIDE | _OVER3 | _TOP),
    *[_INSIDE | _HALF | _TOP] * 2,
    *[_SHORT] * 4,
)


def _well_formed(value: str, behind: str) -> str:
    """Gather what is wrong in one register, and between it and the one behind it."""

    def look_up(table: Sequence[int], nibble: str) -> str:
        return f"(i8x16.relaxed_swizzle (v128.const i8x16 {' '.join(map(str, table))}) {nibble})"

    def back(by: int) -> str:
        order = " ".join(str(16 - by + n) for n in range(16))
        return f"(i8x16.shuffle {order} {_get(behind)} {_get(value)})"

    high = "(i8x16.shr_u {} (i32.const 4))".format
    third = f"(i8x16.sub_sat_u {back(2)} {_const(0xE0 - 0x80)})"
    fourth = f"(i8x16.sub_sat_u {back(3)} {_const(0xF0 - 0x80)})"
    tables = (
        look_up(_FIRST_HIGH, high(_get("before"))),
        look_up(_FIRST_LOW, f"(v128.and {_get('before')} {_const(15)})"),
        look_up(_SECOND_HIGH, high(_get(value))),
    )
    due = f"(v128.and (v128.or {third} {fourth}) {_const(0x80)})"
    wrong = f"(v128.xor {due} (v128.and (v128.and {tables[0]} {tables[1]}) {tables[2]}))"
    return _set("before", back(1)) + _set("bad", f"(v128.or {_get('bad')} {wrong})")


def _join() -> str:
    """join(lines, runs, trim): copy some runs of every line, one behind the other.

    16 bytes are copied at a time; what is too much is written over by the next run.
    """
    size = f"(i32.sub (i32.sub {_separator(4)} {_get('trim')}) {_get('from')})"
    return f"""
(func (export "join") (param $line i32) (param $run i32) (param $trim i32)
  (local $stop i32) (local $last i32) (local $separator i32) (local $from i32) (local $at i32)
  (local $to i32) (local $bound i32)
  {_set("stop", f"(i32.add (i32.const {FIRST}) (i32.shl {_get('line')} (i32.const 2)))")}
  {_set("last", f"(i32.add (i32.const {RUNS}) (i32.shl {_get('run')} (i32.const 3)))")}
  {_set("line", f"(i32.const {FIRST})")} {_set("to", f"(i32.const {JOINED})")}
  {_set("bound", f"(i32.const {BOUNDS})")}
  (i32.store (i32.const {BOUNDS}) (i32.const 0))
  (loop $lines
    {_set("separator", _before(_get("line")))}
    {_set("run", f"(i32.const {RUNS})")}
    (loop $runs
      {_set("from", _separator(0))}
      {_set("at", _get("to"))}
      {_set("to", f"(i32.add {_get('to')} {size})")}
      {_grow("from", TEXT + 1)}
      (loop $copy
        (v128.store {_get("at")} (v128.load {_get("from")}))
        {_grow("from", 16)} {_grow("at", 16)}
        (br_if $copy (i32.lt_s {_get("at")} {_get("to")})))
      {_grow("run", 8)}
      (br_if $runs (i32.lt_u {_get("run")} {_get("last")})))
    {_grow("bound", 4)}
    (i32.store {_get("bound")} {_index("to", JOINED)})
    {_grow("line", 4)}
    (br_if $lines (i32.lt_u {_get("line")} {_get("stop")}))))"""


def _before(line: str) -> str:
    """Return where the separator in front of a line lies."""
    return f"(i32.add (i32.shl (i32.load {line}) (i32.const 2)) (i32.const {SEPARATORS - 4}))"


def _separator(side: int, line: str = "separator") -> str:
    """Return the offset of the separator in front of a run (0), or of its last one (4)."""
    return f"(i32.load (i32.add {_get(line)} (i32.load offset={side} {_get('run')})))"


def _alike() -> str:
    """alike(lines, runs): say of every line whether its runs hold what those of the first hold."""
    left = f"(i32.sub {_get('size')} {_get('at')})"
    few = f"(select {left} (i32.const 16) (i32.lt_s {left} (i32.const 16)))"
    keep = f"(v128.load offset={_KEEP} (i32.sub (i32.const 16) {few}))"
    text = "(v128.load (i32.add (i32.add {} {}) (i32.const {})))".format  # the first is at -1
    mine, model = (text(_get(name), _get("at"), TEXT + 1) for name in ("from", "model_from"))
    wrong = f"(v128.and (v128.xor {mine} {model}) {keep})"
    size = f"(i32.sub {_separator(4)} {_get('from')})"
    model_size = f"(i32.sub {_separator(4, 'model')} {_get('model_from')})"
    return f"""
(func (export "alike") (param $line i32) (param $run i32)
  (local $stop i32) (local $last i32) (local $separator i32) (local $model i32) (local $to i32)
  (local $from i32) (local $model_from i32) (local $size i32) (local $at i32) (local $bad v128)
  {_set("stop", f"(i32.add (i32.const {FIRST}) (i32.shl {_get('line')} (i32.const 2)))")}
  {_set("last", f"(i32.add (i32.const {RUNS}) (i32.shl {_get('run')} (i32.const 3)))")}
  {_set("line", f"(i32.const {FIRST})")} {_set("to", f"(i32.const {ALIKE})")}
  {_set("model", _before(_get("line")))}
  (loop $lines
    {_set("separator", _before(_get("line")))}
    {_set("run", f"(i32.const {RUNS})")} {_set("bad", _const(0))}
    (loop $runs
      {_set("from", _separator(0))} {_set("model_from", _separator(0, "model"))}
      {_set("size", size)} {_set("at", "(i32.const 0)")}
      (if (i32.eq {_get("size")} {model_size})
        (then (loop $compare
          {_set("bad", f"(v128.or {_get('bad')} {wrong})")}
          {_grow("at", 16)}
          (br_if $compare (i32.lt_s {_get("at")} {_get("size")}))))
        (else {_set("bad", _const(1))} {_set("run", _get("last"))}))
      {_grow("run", 8)}
      (br_if $runs (i32.lt_u {_get("run")} {_get("last")})))
    (i32.store8 {_get("to")} (i32.eqz (v128.any_true {_get("bad")})))
    {_grow("to", 1)} {_grow("line", 4)}
    (br_if $lines (i32.lt_u {_get("line")} {_get("stop")}))))"""
