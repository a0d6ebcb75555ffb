"""An assembler for eBPF, in the notation of the kernel's and LLVM's listings.

    r4 = *(u32 *)(r1 + 16)        load; also u8, u16, u64
    *(u16 *)(r10 - 8) = r4        store a register; or a constant
    lock *(u64 *)(r8 + 0) += r1   atomic add; also u32
    r1 += r2      w1 >>= 3        64 bits (r) or 32 (w): = += -= *= /= %= |= &= ^= <<= >>= s>>=
    r0 = be16 r0                  byte order: be or le, 16, 32 or 64
    r1 = 0x123456789abcdef ll     a constant of 64 bits
    r1 = map[HITS]                a map, by the number of its file descriptor
    r1 = map[LEASE][0]+0          the address of the value of an array map
    if w4 != ARP goto pass        == != < <= > >= s< s<= s> s>=, and & for "any of these bits"
    goto pass       goto +3       a label, or how many instructions to skip
    call KTIME      exit          a helper, by its number
    pass:                         a label

A constant is a number, a symbol, or a sum of such, `FRAME + 18`. `#` starts a comment. Encodings: RFC 9669.
"""

from __future__ import annotations

import re
import struct
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

LD, LDX, ST, STX, ALU, JMP, JMP32, ALU64 = range(8)  # RFC 9669 §3, Table 2
IMM64, MEM, ATOMIC = 0x00, 0x60, 0xC0
REGISTER = 0x08  # the second operand is a register
SIZES = {"u32": 0x00, "u16": 0x08, "u8": 0x10, "u64": 0x18}
ARITHMETIC = {
    "+=": 0x00,
    "-=": 0x10,
    "*=": 0x20,
    "/=": 0x30,
    "|=": 0x40,
    "&=": 0x50,
    "<<=": 0x60,
    ">>=": 0x70,
    "%=": 0x90,
    "^=": 0xA0,
    "=": 0xB0,
    "s>>=": 0xC0,
}
COMPARE = {
    "==": 0x10,
    ">": 0x20,
    ">=": 0x30,
    "&": 0x40,
    "!=": 0x50,
    "s>": 0x60,
    "s>=": 0x70,
    "<": 0xA0,
    "<=": 0xB0,
    "s<": 0xC0,
    "s<=": 0xD0,
}
GOTO, CALL, EXIT, SWAP = 0x05, 0x85, 0x95, 0xD4
SWAPS = {"le": 0x00, "be": 0x08}
MAP, MAP_VALUE = 1, 2  # what stands in the source register of a 64-bit load: BPF_PSEUDO_MAP_FD and BPF_PSEUDO_MAP_VALUE

LITTLE = sys.byteorder == "little"


class Instruction(NamedTuple):
    """Eight bytes. `target` is the label of a jump whose offset is still unknown."""

    code: int
    destination: int = 0
    source: int = 0
    offset: int = 0
    immediate: int = 0
    target: str = ""

    def encode(self) -> bytes:
        """The bytes, in this machine's order: the two registers share a byte whose halves follow it too."""
        low, high = (self.destination, self.source) if LITTLE else (self.source, self.destination)
        immediate = self.immediate & 0xFFFFFFFF
        return struct.pack("=BBhI", self.code, high << 4 | low, self.offset, immediate)


class AssemblerError(ValueError):
    """The text is no program. The message gives the line's number and text."""


def assemble(text: str, symbols: Mapping[str, int] | None = None) -> bytes:
    """Translate a program.

    Args:
        text: see the module's documentation.
        symbols: values of the names that the text uses.

    Raises:
        AssemblerError: a line is no instruction, a name or label is unknown, a number does not fit.
    """
    program: list[tuple[Instruction, str]] = []
    labels: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        statement = " ".join(line.partition("#")[0].split())
        if not statement:
            continue
        where = f"line {number}: {statement}"
        try:
            if statement.endswith(":"):
                if labels.setdefault(statement[:-1], len(program)) != len(program):
                    raise AssemblerError("this label exists already")
                continue
            program += [(instruction, where) for instruction in _instructions(statement, symbols or {})]
        except AssemblerError as error:
            raise AssemblerError(f"{where}: {error}") from None
    code = []
    for position, (instruction, where) in enumerate(program):
        resolved = instruction
        if instruction.target:
            if instruction.target not in labels:
                raise AssemblerError(f"{where}: there is no label {instruction.target}")
            resolved = instruction._replace(offset=labels[instruction.target] - position - 1)
        if not -0x8000 <= resolved.offset < 0x8000:
            raise AssemblerError(f"{where}: the offset {resolved.offset} does not fit into 16 bits")
        code.append(resolved.encode())
    return b"".join(code)


def _instructions(statement: str, symbols: Mapping[str, int]) -> list[Instruction]:
    for pattern, build in _FORMS:
        if match := re.fullmatch(pattern, statement):
            return build(match, symbols)
    raise AssemblerError("no such instruction")


def _constant(text: str, symbols: Mapping[str, int], bits: int = 32) -> int:
    """A number, name or sum that fits as signed or unsigned."""
    total = 0
    for sign, term in re.findall(r"([-+]?) ?(\w+)", text):
        try:
            value = symbols[term] if term in symbols else int(term, 0)
        except ValueError:
            raise AssemblerError(f"{term} is neither a number nor a symbol") from None
        total += -value if sign == "-" else value
    if not -(1 << (bits - 1)) <= total < 1 << bits:
        raise AssemblerError(f"{total:#x} does not fit into {bits} bits")
    return total


def _register(text: str) -> int:
    number = int(text[1:])
    if number > 10:
        raise AssemblerError(f"there is no register {text}")
    return number


def _operand(text: str, symbols: Mapping[str, int], wide: str) -> tuple[int, int, int]:
    """The second operand: the code's bit for a register, the register, the constant."""
    if re.fullmatch(r"[rw]\d+", text):
        if text[0] != wide:
            raise AssemblerError(f"{text} has another width than its partner")
        return REGISTER, _register(text), 0
    return 0, 0, _constant(text, symbols)


def _address(match: re.Match[str], symbols: Mapping[str, int]) -> tuple[int, int]:
    """Base register and offset."""
    return _register(match["base"]), _constant(match["offset"], symbols)


def _load(match: re.Match[str], symbols: Mapping[str, int]) -> list[Instruction]:
    base, offset = _address(match, symbols)
    return [Instruction(LDX | MEM | SIZES[match["size"]], _register(match["dst"]), base, offset)]


def _store(match: re.Match[str], symbols: Mapping[str, int]) -> list[Instruction]:
    base, offset = _address(match, symbols)
    is_register, source, immediate = _operand(match["src"], symbols, "r")
    kind = STX if is_register else ST
    return [Instruction(kind | MEM | SIZES[match["size"]], base, source, offset, immediate)]


def _atomic_add(match: re.Match[str], symbols: Mapping[str, int]) -> list[Instruction]:
    base, offset = _address(match, symbols)
    return [Instruction(STX | ATOMIC | SIZES[match["size"]], base, _register(match["src"]), offset)]


def _arithmetic(match: re.Match[str], symbols: Mapping[str, int]) -> list[Instruction]:
    destination = match["dst"]
    is_register, source, immediate = _operand(match["src"], symbols, destination[0])
    kind = ALU64 if destination[0] == "r" else ALU
    code = kind | ARITHMETIC[match["op"]] | is_register
    return [Instruction(code, _register(destination), source, 0, immediate)]


def _swap(match: re.Match[str], _: Mapping[str, int]) -> list[Instruction]:
    if match["dst"] != match["src"]:
        raise AssemblerError("byte order is changed within one register")
    return [Instruction(SWAP | SWAPS[match["order"]], _register(match["dst"]), 0, 0, int(match["bits"]))]


def _wide(destination: str, source: int, low: int, high: int) -> list[Instruction]:
    code = LD | IMM64 | SIZES["u64"]
    return [Instruction(code, _register(destination), source, 0, low), Instruction(0, 0, 0, 0, high)]


def _load_wide(match: re.Match[str], symbols: Mapping[str, int]) -> list[Instruction]:
    value = _constant(match["value"], symbols, bits=64)
    return _wide(match["dst"], 0, value & 0xFFFFFFFF, value >> 32)


def _load_map(match: re.Match[str], symbols: Mapping[str, int]) -> list[Instruction]:
    descriptor = _constant(match["map"], symbols)
    if match["offset"] is None:
        return _wide(match["dst"], MAP, descriptor, 0)
    return _wide(match["dst"], MAP_VALUE, descriptor, _constant(match["offset"], symbols))


def _jump(match: re.Match[str], symbols: Mapping[str, int]) -> list[Instruction]:
    groups = match.groupdict()
    target = groups["target"]
    skip = int(target) if target[0] in "+-" else 0
    label = "" if target[0] in "+-" else target
    left = groups.get("dst")
    if left is None:
        return [Instruction(GOTO, 0, 0, skip, 0, label)]
    is_register, source, immediate = _operand(groups["src"], symbols, left[0])
    kind = JMP if left[0] == "r" else JMP32
    code = kind | COMPARE[groups["op"]] | is_register
    return [Instruction(code, _register(left), source, skip, immediate, label)]


def _call(match: re.Match[str], symbols: Mapping[str, int]) -> list[Instruction]:
    return [Instruction(CALL, 0, 0, 0, _constant(match["helper"], symbols))]


def _exit(_: re.Match[str], __: Mapping[str, int]) -> list[Instruction]:
    return [Instruction(EXIT)]


def _alternatives(names: Iterable[str]) -> str:
    return "|".join(map(re.escape, sorted(names, key=len, reverse=True)))


_MEMORY = r"\*\((?P<size>u8|u16|u32|u64) \*\)\((?P<base>r\d+)(?P<offset>(?: [-+] ?\w+)+)\)"
_VALUE = r"[-+]?\w+(?: [-+] \w+)*"
_SOURCE = f"(?P<src>{_VALUE})"
_EITHER = r"(?P<dst>[rw]\d+)"
_DESTINATION = r"(?P<dst>r\d+)"
_TARGET = r"(?P<target>[-+]\d+|[a-z]\w*)"

_FORMS: list[tuple[str, Callable[[re.Match[str], Mapping[str, int]], list[Instruction]]]] = [
    ("exit", _exit),
    (r"call (?P<helper>\w+)", _call),
    (f"goto {_TARGET}", _jump),
    (f"if {_EITHER} (?P<op>{_alternatives(COMPARE)}) {_SOURCE} goto {_TARGET}", _jump),
    (f"{_DESTINATION} = {_MEMORY}", _load),
    (f"{_MEMORY} = {_SOURCE}", _store),
    (rf"lock {_MEMORY} \+= (?P<src>r\d+)", _atomic_add),
    (rf"{_DESTINATION} = (?P<order>be|le)(?P<bits>16|32|64) (?P<src>r\d+)", _swap),
    (f"{_DESTINATION} = (?P<value>{_VALUE}) ll", _load_wide),
    (rf"{_DESTINATION} = map\[(?P<map>\w+)\](?:\[0\]\+(?P<offset>\w+))?", _load_map),
    (f"{_EITHER} (?P<op>{_alternatives(ARITHMETIC)}) {_SOURCE}", _arithmetic),
]
