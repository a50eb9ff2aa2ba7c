"""The compiler: a network becomes one C file, and that a library.

capture (torch.export) → `ir.Graph` → named passes → memory plan, schedule → C → a C compiler. `pipeline` runs it;
`interpret` defines in NumPy what every operation means. Only `capture` imports torch.
"""
