// Vectors of W lanes and single lanes ("s") with the same operations, so that generated code reads alike: the scalar meaning is docs/numerics.md, and nothing here may differ by a bit.
// Comparisons give masks: all ones or zero. Flags: no FMA contraction, signed overflow wraps (-fwrapv), memory may be seen as any type (-fno-strict-aliasing).
#pragma once
#include <stdint.h>
#include <string.h>
#if defined __x86_64__ && defined __clang__
#include <immintrin.h>
#elif defined __aarch64__
#include <arm_neon.h>
#endif

_Static_assert(__FLT_EVAL_METHOD__ == 0, "f32 must be computed as f32");

typedef float vf __attribute__((vector_size(4 * W)));
typedef int32_t vi __attribute__((vector_size(4 * W)));
typedef uint32_t vu __attribute__((vector_size(4 * W)));
typedef uint8_t vb __attribute__((vector_size(W)));
// The same in memory, at any element's address.
typedef vf vf_at __attribute__((aligned(4), may_alias));
typedef vi vi_at __attribute__((aligned(4), may_alias));
typedef vb vb_at __attribute__((aligned(1), may_alias));

#define ALWAYS static inline __attribute__((always_inline, unused))
#define NAN_BITS 0x7fc00000
// For whatever has no vector form: lane by lane, written out.
#define EACH_LANE _Pragma("GCC unroll 16") for (int l = 0; l < W; l++)
#if W == 16
#define LANE_NUMBERS ((vi){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
#elif W == 8
#define LANE_NUMBERS ((vi){0, 1, 2, 3, 4, 5, 6, 7})
#else
#define LANE_NUMBERS ((vi){0, 1, 2, 3})
#endif

// A vector of one value, or of a base and a step a lane.
ALWAYS vf v_splat(float x) { return x - (vf){0}; }
ALWAYS vi v_splati(int32_t x) { return x - (vi){0}; }
ALWAYS vi v_ramp(int32_t x, int32_t step) { return x + LANE_NUMBERS * step; }
ALWAYS vf v_load(const float *p) { return *(const vf_at *)p; }
ALWAYS vi v_loadi(const int32_t *p) { return *(const vi_at *)p; }
ALWAYS vi v_loadb(const uint8_t *p) { return __builtin_convertvector(*(const vb_at *)p, vi); }
ALWAYS void v_store(float *p, vf x) { *(vf_at *)p = x; }
ALWAYS void v_storei(int32_t *p, vi x) { *(vi_at *)p = x; }
ALWAYS void v_storeb(uint8_t *p, vi x) { *(vb_at *)p = __builtin_convertvector(x, vb); }
// Elements that are `stride` apart.
ALWAYS vf v_pick(const float *p, long stride) {
  vf r;
  EACH_LANE r[l] = p[l * stride];
  return r;
}
ALWAYS vi v_picki(const int32_t *p, long stride) {
  vi r;
  EACH_LANE r[l] = p[l * stride];
  return r;
}
ALWAYS vi v_pickb(const uint8_t *p, long stride) {
  vi r;
  EACH_LANE r[l] = p[l * stride];
  return r;
}
ALWAYS void v_scatter(float *p, long stride, vf x) {
  EACH_LANE p[l * stride] = x[l];
}
ALWAYS void v_scatteri(int32_t *p, long stride, vi x) {
  EACH_LANE p[l * stride] = x[l];
}
ALWAYS void v_scatterb(uint8_t *p, long stride, vi x) {
  EACH_LANE p[l * stride] = (uint8_t)x[l];
}

ALWAYS vi v_bits(vf x) { return (vi)x; }
ALWAYS vf v_real(vi x) { return (vf)x; }
ALWAYS vi v_lt(vf a, vf b) { return a < b; }
ALWAYS vi v_le(vf a, vf b) { return a <= b; }
ALWAYS vi v_eq(vf a, vf b) { return a == b; }
ALWAYS vi v_lti(vi a, vi b) { return a < b; }
ALWAYS vi v_ltu(vi a, vi b) { return (vu)a < (vu)b; }
ALWAYS vi v_eqi(vi a, vi b) { return a == b; }
ALWAYS vi v_truth(vi c) { return c != 0; }
ALWAYS vi v_whichi(vi mask, vi a, vi b) { return (a & mask) | (b & ~mask); }
ALWAYS vf v_which(vi mask, vf a, vf b) { return (vf)v_whichi(mask, (vi)a, (vi)b); }
ALWAYS vf v_neg(vf a) { return (vf)((vi)a ^ INT32_MIN); }
ALWAYS vf v_abs(vf a) { return (vf)((vi)a & INT32_MAX); }
ALWAYS vi v_shl(vi a, vi b) { return (vi)((vu)a << (vu)(b & 31)); }
ALWAYS vi v_shr(vi a, vi b) { return (vi)((vu)a >> (vu)(b & 31)); }
ALWAYS vi v_sar(vi a, vi b) { return a >> (b & 31); }
// Where the divisor is zero, 1 stands in. (A lane-wise `b ? a / b : 0` is no choice: GCC 12 makes -1 of it where a is b.)
ALWAYS vi v_divu(vi a, vi b) {
  vi zero = b == 0;
  return (vi)((vu)a / (vu)(b - zero)) & ~zero;
}
ALWAYS vi v_remu(vi a, vi b) {
  vi zero = b == 0;
  return (vi)((vu)a % (vu)(b - zero)) | (a & zero);
}
// By a constant that is not zero.
ALWAYS vi v_divc(vi a, uint32_t b) { return (vi)((vu)a / b); }
ALWAYS vi v_remc(vi a, uint32_t b) { return (vi)((vu)a % b); }
ALWAYS vf v_from(vi a) { return __builtin_convertvector(a, vf); }

// minps(x, y) is x < y ? x : y, so the definition with its operands turned round: one instruction. GCC's own names for them, because its header alone takes half a second to read.
#if defined __AVX512F__ && W == 16
#ifdef __clang__
ALWAYS vf v_min(vf a, vf b) { return _mm512_min_ps(b, a); }
ALWAYS vf v_max(vf a, vf b) { return _mm512_max_ps(b, a); }
ALWAYS vf v_sqrt(vf a) { return _mm512_sqrt_ps(a); }
ALWAYS vf v_floor(vf a) { return _mm512_roundscale_ps(a, 9); }
#define V_TRUNC(a) ((vi)_mm512_cvttps_epi32(a))
#else
ALWAYS vf v_min(vf a, vf b) { return __builtin_ia32_minps512_mask(b, a, a, -1, 4); }
ALWAYS vf v_max(vf a, vf b) { return __builtin_ia32_maxps512_mask(b, a, a, -1, 4); }
ALWAYS vf v_sqrt(vf a) { return __builtin_ia32_sqrtps512_mask(a, a, -1, 4); }
ALWAYS vf v_floor(vf a) { return __builtin_ia32_rndscaleps_mask(a, 9, a, -1, 4); }
#define V_TRUNC(a) __builtin_ia32_cvttps2dq512_mask(a, (vi)a, -1, 4)
#endif
#elif defined __AVX2__ && W == 8
#ifdef __clang__
ALWAYS vf v_min(vf a, vf b) { return _mm256_min_ps(b, a); }
ALWAYS vf v_max(vf a, vf b) { return _mm256_max_ps(b, a); }
ALWAYS vf v_sqrt(vf a) { return _mm256_sqrt_ps(a); }
ALWAYS vf v_floor(vf a) { return _mm256_floor_ps(a); }
#define V_TRUNC(a) ((vi)_mm256_cvttps_epi32(a))
#else
ALWAYS vf v_min(vf a, vf b) { return __builtin_ia32_minps256(b, a); }
ALWAYS vf v_max(vf a, vf b) { return __builtin_ia32_maxps256(b, a); }
ALWAYS vf v_sqrt(vf a) { return __builtin_ia32_sqrtps256(a); }
ALWAYS vf v_floor(vf a) { return __builtin_ia32_roundps256(a, 9); }
#define V_TRUNC(a) __builtin_ia32_cvttps2dq256(a)
#endif
#elif defined __x86_64__ && W == 4
#ifdef __clang__
ALWAYS vf v_min(vf a, vf b) { return _mm_min_ps(b, a); }
ALWAYS vf v_max(vf a, vf b) { return _mm_max_ps(b, a); }
ALWAYS vf v_sqrt(vf a) { return _mm_sqrt_ps(a); }
#define V_TRUNC(a) ((vi)_mm_cvttps_epi32(a))
#else
ALWAYS vf v_min(vf a, vf b) { return __builtin_ia32_minps(b, a); }
ALWAYS vf v_max(vf a, vf b) { return __builtin_ia32_maxps(b, a); }
ALWAYS vf v_sqrt(vf a) { return __builtin_ia32_sqrtps(a); }
#define V_TRUNC(a) __builtin_ia32_cvttps2dq(a)
#endif
#if defined __SSE4_1__ && !defined __clang__
ALWAYS vf v_floor(vf a) { return __builtin_ia32_roundps(a, 9); }
#else
#define LANE_FLOOR
#endif
#else
ALWAYS vf v_min(vf a, vf b) { return v_which(b < a, b, a); }
ALWAYS vf v_max(vf a, vf b) { return v_which(a < b, b, a); }
#if defined __aarch64__ && W == 4
ALWAYS vf v_sqrt(vf a) { return (vf)vsqrtq_f32((float32x4_t)a); }
ALWAYS vf v_floor(vf a) { return (vf)vrndmq_f32((float32x4_t)a); }
#else
ALWAYS vf v_sqrt(vf a) {
  EACH_LANE a[l] = __builtin_sqrtf(a[l]);
  return a;
}
#define LANE_FLOOR
#endif
#endif
#ifdef LANE_FLOOR
ALWAYS vf v_floor(vf a) {
  EACH_LANE a[l] = __builtin_floorf(a[l]);
  return a;
}
#endif

ALWAYS int32_t s_to(float a) {
  return a != a ? 0 : a >= 0x1p31f ? INT32_MAX : a <= -0x1p31f ? INT32_MIN : (int32_t)a;
}
#ifdef V_TRUNC
// The instruction gives 0x80000000 for whatever does not fit: flipped to the largest where a is large, cleared where a is a NaN.
ALWAYS vi v_to(vf a) { return (V_TRUNC(a) ^ (a >= 0x1p31f)) & (a == a); }
#else
ALWAYS vi v_to(vf a) {
  vi r;
  EACH_LANE r[l] = s_to(a[l]);
  return r;
}
#endif
ALWAYS vf v_canonical(vf a) { return v_which(a == a, a, (vf)v_splati(NAN_BITS)); }

// Rows become columns: lane j of r[i] and lane i of r[j] change places.
#if W == 4
#define PAIR(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
ALWAYS void v_transpose(vf *r) {
  vf s = PAIR(r[0], r[1], 0, 4, 1, 5), t = PAIR(r[2], r[3], 0, 4, 1, 5);
  vf u = PAIR(r[0], r[1], 2, 6, 3, 7), v = PAIR(r[2], r[3], 2, 6, 3, 7);
  r[0] = PAIR(s, t, 0, 1, 4, 5), r[1] = PAIR(s, t, 2, 3, 6, 7);
  r[2] = PAIR(u, v, 0, 1, 4, 5), r[3] = PAIR(u, v, 2, 3, 6, 7);
}
#elif W == 8
#define PAIR(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
ALWAYS void v_transpose(vf *r) {
  vf s[8], t[8];
  _Pragma("GCC unroll 16") for (int i = 0; i < 8; i += 2) {
    s[i] = PAIR(r[i], r[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    s[i + 1] = PAIR(r[i], r[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  _Pragma("GCC unroll 16") for (int i = 0; i < 8; i += 4)
    _Pragma("GCC unroll 16") for (int j = 0; j < 2; j++) {
      t[i + 2 * j] = PAIR(s[i + j], s[i + 2 + j], 0, 1, 8, 9, 4, 5, 12, 13);
      t[i + 2 * j + 1] = PAIR(s[i + j], s[i + 2 + j], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  _Pragma("GCC unroll 16") for (int i = 0; i < 4; i++) {
    r[i] = PAIR(t[i], t[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    r[i + 4] = PAIR(t[i], t[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
}
#elif W == 16
#define PAIR(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
ALWAYS void v_transpose(vf *r) {
  vf s[16], t[16];
  _Pragma("GCC unroll 16") for (int i = 0; i < 16; i += 2) {
    s[i] = PAIR(r[i], r[i + 1], 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
    s[i + 1] = PAIR(r[i], r[i + 1], 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
  }
  _Pragma("GCC unroll 16") for (int i = 0; i < 16; i += 4)
    _Pragma("GCC unroll 16") for (int j = 0; j < 2; j++) {
      t[i + 2 * j] = PAIR(s[i + j], s[i + 2 + j], 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
      t[i + 2 * j + 1] = PAIR(s[i + j], s[i + 2 + j], 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
    }
  // Now t[4b + c] holds, for rows 4b .. 4b+3, columns c, 4+c, 8+c, 12+c: four quarters that go to four rows.
  _Pragma("GCC unroll 16") for (int c = 0; c < 4; c++) {
    vf a = PAIR(t[c], t[4 + c], 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
    vf b = PAIR(t[8 + c], t[12 + c], 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
    vf d = PAIR(t[c], t[4 + c], 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
    vf e = PAIR(t[8 + c], t[12 + c], 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
    r[c] = PAIR(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
    r[8 + c] = PAIR(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
    r[4 + c] = PAIR(d, e, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
    r[12 + c] = PAIR(d, e, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  }
}
#endif

// One lane.
ALWAYS float s_splat(float x) { return x; }
ALWAYS int32_t s_splati(int32_t x) { return x; }
ALWAYS int32_t s_ramp(int32_t x, int32_t step) { return (void)step, x; }
ALWAYS float s_load(const float *p) { return *p; }
ALWAYS int32_t s_loadi(const int32_t *p) { return *p; }
ALWAYS int32_t s_loadb(const uint8_t *p) { return *p; }
ALWAYS void s_store(float *p, float x) { *p = x; }
ALWAYS void s_storei(int32_t *p, int32_t x) { *p = x; }
ALWAYS void s_storeb(uint8_t *p, int32_t x) { *p = (uint8_t)x; }
ALWAYS int32_t s_bits(float x) {
  int32_t r;
  memcpy(&r, &x, 4);
  return r;
}
ALWAYS float s_real(int32_t x) {
  float r;
  memcpy(&r, &x, 4);
  return r;
}
ALWAYS int32_t s_lt(float a, float b) { return -(a < b); }
ALWAYS int32_t s_le(float a, float b) { return -(a <= b); }
ALWAYS int32_t s_eq(float a, float b) { return -(a == b); }
ALWAYS int32_t s_lti(int32_t a, int32_t b) { return -(a < b); }
ALWAYS int32_t s_ltu(int32_t a, int32_t b) { return -((uint32_t)a < (uint32_t)b); }
ALWAYS int32_t s_eqi(int32_t a, int32_t b) { return -(a == b); }
ALWAYS int32_t s_truth(int32_t c) { return -(c != 0); }
ALWAYS int32_t s_whichi(int32_t mask, int32_t a, int32_t b) { return mask ? a : b; }
ALWAYS float s_which(int32_t mask, float a, float b) { return mask ? a : b; }
ALWAYS float s_neg(float a) { return s_real(s_bits(a) ^ INT32_MIN); }
ALWAYS float s_abs(float a) { return s_real(s_bits(a) & INT32_MAX); }
ALWAYS float s_min(float a, float b) { return b < a ? b : a; }
ALWAYS float s_max(float a, float b) { return a < b ? b : a; }
ALWAYS float s_sqrt(float a) { return __builtin_sqrtf(a); }
ALWAYS float s_floor(float a) { return __builtin_floorf(a); }
ALWAYS int32_t s_shl(int32_t a, int32_t b) { return (int32_t)((uint32_t)a << (b & 31)); }
ALWAYS int32_t s_shr(int32_t a, int32_t b) { return (int32_t)((uint32_t)a >> (b & 31)); }
ALWAYS int32_t s_sar(int32_t a, int32_t b) { return a >> (b & 31); }
ALWAYS int32_t s_divu(int32_t a, int32_t b) { return b ? (int32_t)((uint32_t)a / (uint32_t)b) : 0; }
ALWAYS int32_t s_remu(int32_t a, int32_t b) { return b ? (int32_t)((uint32_t)a % (uint32_t)b) : a; }
ALWAYS int32_t s_divc(int32_t a, uint32_t b) { return (int32_t)((uint32_t)a / b); }
ALWAYS int32_t s_remc(int32_t a, uint32_t b) { return (int32_t)((uint32_t)a % b); }
ALWAYS float s_from(int32_t a) { return (float)a; }
ALWAYS float s_canonical(float a) { return a == a ? a : s_real(NAN_BITS); }
