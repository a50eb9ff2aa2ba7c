"""C helpers that spread a row of small values over a row of twice the width, each to the column of its maximum.

Places are 2·row + column in a 2×2 window; a value that belongs into the window's other row or column leaves zero.
"""

from __future__ import annotations

from fleetseg.compiler.target import Target

_NATIVE = {
    16: """\
HELPER f16 unpooled16(f8 v, const uint8_t *places, int row)
{
    const __m128i p = _mm_loadl_epi64((const __m128i *)(const void *)places);
    const __m512i place = _mm512_cvtepu8_epi32(_mm_unpacklo_epi8(p, p));
    const __m512i own = _mm512_set1_epi64((long long)(2 * row) | (long long)(2 * row + 1) << 32);
    const __m512i twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    const __m512 wide = _mm512_castps256_ps512((__m256)v);
    return (f16)_mm512_maskz_permutexvar_ps(_mm512_cmpeq_epi32_mask(place, own), twice, wide);
}
""",
    8: """\
HELPER f8 unpooled8(f4 v, const uint8_t *places, int row)
{
    int bytes;
    memcpy(&bytes, places, 4);
    const __m128i p = _mm_cvtsi32_si128(bytes);
    const __m256i place = _mm256_cvtepu8_epi32(_mm_unpacklo_epi8(p, p));
    const __m256i own = _mm256_set1_epi64x((long long)(2 * row) | (long long)(2 * row + 1) << 32);
    const __m256i twice = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
    const __m256 wide = _mm256_permutevar8x32_ps(_mm256_castps128_ps256((__m128)v), twice);
    return (f8)_mm256_and_ps(wide, _mm256_castsi256_ps(_mm256_cmpeq_epi32(place, own)));
}
""",
}


def unpooling_helper(n: int, target: Target) -> str:
    """C: ``unpooled<n>``, from a vector of `n` / 2 values and their places."""
    if n in _NATIVE and n in target.native_lanes:
        return _NATIVE[n]
    return _generic(n)


def _generic(n: int) -> str:
    twice = ", ".join(str(index // 2) for index in range(n))
    columns = ", ".join(str(index % 2) for index in range(n))
    half = n // 2
    return f"""\
HELPER f{n} unpooled{n}(f{half} v, const uint8_t *places, int row)
{{
    b{half} p = *(const ub{half} *)places;
    i{n} place = __builtin_convertvector(__builtin_shufflevector(p, p, {twice}), i{n});
    i{n} own = place == (i{n}){{{columns}}} + 2 * row;
    return (f{n})((i{n})__builtin_shufflevector(v, v, {twice}) & own);
}}
"""
