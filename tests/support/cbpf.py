"""Classic BPF (linux/filter.h) in Python, as far as socket filters here use it: an interpreter and a verifier."""

LOADS = {0x20: 4, 0x28: 2, 0x30: 1}
PACKET_TYPE, INTERFACE = 0xFFFFF004, 0xFFFFF008
COMPARISONS = {0x15: int.__eq__, 0x25: int.__gt__, 0x35: int.__ge__}


def run(program, packet, *, packet_type=0, interface=1):
    """The number of bytes that the program lets pass, and how many instructions it took to decide."""
    accumulator, position, steps = 0, 0, 0
    ancillary = {PACKET_TYPE: packet_type, INTERFACE: interface}
    while True:
        instruction = program[position]
        steps += 1
        position += 1
        if instruction.code == 0x06:
            return instruction.value, steps
        if instruction.code == 0x05:
            position += instruction.value
        elif instruction.code in COMPARISONS:
            holds = COMPARISONS[instruction.code](accumulator, instruction.value)
            position += instruction.when_true if holds else instruction.when_false
        elif instruction.value in ancillary:
            accumulator = ancillary[instruction.value]
        else:
            size = LOADS[instruction.code]
            field = packet[instruction.value : instruction.value + size]
            if len(field) < size:
                return 0, steps
            accumulator = int.from_bytes(field, "big")


def verify(program):
    """What the kernel checks before it takes a program (bpf_check_classic)."""
    assert 0 < len(program) <= 4096
    assert program[-1].code == 0x06
    for position, instruction in enumerate(program):
        code, when_true, when_false, value = instruction
        assert code in {0x05, 0x06, *LOADS, *COMPARISONS}
        assert 0 <= when_true <= 255
        assert 0 <= when_false <= 255
        assert 0 <= value <= 0xFFFFFFFF
        if code == 0x05:
            assert position + 1 + value < len(program)
        elif code in COMPARISONS:
            assert position + 1 + max(when_true, when_false) < len(program)
