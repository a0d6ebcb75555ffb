"""The reverse of the assembler: a program's bytes as text, for people and for checking the assembler."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from metallb_cli.linux.ebpf.assembler import (
    ALU,
    ALU64,
    ARITHMETIC,
    ATOMIC,
    CALL,
    COMPARE,
    EXIT,
    GOTO,
    IMM64,
    JMP,
    JMP32,
    LD,
    LDX,
    LITTLE,
    MAP,
    MAP_VALUE,
    MEM,
    REGISTER,
    SIZES,
    ST,
    STX,
    SWAP,
    SWAPS,
    Instruction,
)


def disassemble(code: bytes) -> list[str]:
    """The program's text, one line for each instruction; a 64-bit load is one line. `assemble` understands it.

    Raises:
        ValueError: there is an instruction that `assemble` cannot write.
    """
    lines: list[str] = []
    instructions = [_decode(code[at : at + 8]) for at in range(0, len(code), 8)]
    following = iter(range(len(instructions)))
    for at in following:
        instruction = instructions[at]
        if instruction.code == LD | IMM64 | SIZES["u64"]:
            lines.append(_wide_text(instruction, instructions[at + 1]))
            next(following)
        else:
            lines.append(_text(instruction))
    return lines


def _decode(raw: bytes) -> Instruction:
    code, registers, offset, immediate = struct.unpack("=BBhi", raw)
    low, high = registers & 15, registers >> 4
    destination, source = (low, high) if LITTLE else (high, low)
    return Instruction(code, destination, source, offset, immediate)


def _wide_text(first: Instruction, second: Instruction) -> str:
    low, high = first.immediate & 0xFFFFFFFF, second.immediate & 0xFFFFFFFF
    if first.source == MAP:
        return f"r{first.destination} = map[{low}]"
    if first.source == MAP_VALUE:
        return f"r{first.destination} = map[{low}][0]+{high}"
    return f"r{first.destination} = {high << 32 | low:#x} ll"


def _text(instruction: Instruction) -> str:
    code, destination, source, offset, immediate, _ = instruction
    kind, size = code & 7, _name(SIZES, code & 0x18)
    wide = "r" if kind in (JMP, ALU64) else "w"
    second = f"{wide}{source}" if code & REGISTER else f"{immediate}"
    base, sign = source if kind == LDX else destination, "-" if offset < 0 else "+"
    memory = f"*({size} *)(r{base} {sign} {abs(offset)})"
    if kind == LDX and code & 0xE0 == MEM:
        return f"r{destination} = {memory}"
    if kind in (ST, STX) and code & 0xE0 == MEM:
        return f"{memory} = {f'r{source}' if kind == STX else immediate}"
    if kind == STX and code & 0xE0 == ATOMIC and immediate == 0:
        return f"lock {memory} += r{source}"
    if code == EXIT:
        return "exit"
    if code == CALL:
        return f"call {immediate}"
    if code == GOTO:
        return f"goto {offset:+d}"
    if code & ~REGISTER == SWAP:
        return f"r{destination} = {_name(SWAPS, code & REGISTER)}{immediate} r{destination}"
    if kind in (ALU, ALU64):
        return f"{wide}{destination} {_name(ARITHMETIC, code & 0xF0)} {second}"
    if kind in (JMP, JMP32):
        return f"if {wide}{destination} {_name(COMPARE, code & 0xF0)} {second} goto {offset:+d}"
    raise ValueError(f"unknown instruction {code:#04x}")


def _name(table: Mapping[str, int], code: int) -> str:
    for name, value in table.items():
        if value == code:
            return name
    raise ValueError(f"unknown operation {code:#04x}")
