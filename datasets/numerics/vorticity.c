/* Steps of ETDRK4 for one flow in vorticity form: what `compiled_vorticity.py` compiles and calls.

   All arrays hold eight numbers side by side, real parts before imaginary ones: eight waves of one axis, or
   eight points, which are worked on at once. */

typedef double lanes __attribute__((vector_size(64)));
typedef struct { lanes re, im; } eight;

typedef struct {
    long n, rows, blocks;     /* points per axis; waves k = 0 .. m, -m .. -1, l = 0 .. m in blocks of eight */
    const double *roots;      /* cos and -sin of 2 pi j / n in turns */
    const lanes *velocity[2]; /* (rows, blocks): coefficients of u and v are i times this times those of w */
    const lanes *back[2];     /* (rows, blocks): from u v and u^2 - v^2 to the rate */
    const eight *force;       /* (rows, blocks) */
    eight *fields[2];         /* (8 blocks, columns): waves l, points x */
    eight *line[4];           /* (8 columns), zero from n on */
} flow;

static inline eight times(eight z, const double *root)
{
    return (eight){z.re * root[0] - z.im * root[1], z.re * root[1] + z.im * root[0]};
}

static inline long factor(long n)
{
    long r = n % 4 ? 2 : 4;
    while (n % r)
        r++;
    return r;
}

/* sum_j x_j exp(-2 pi i j k / n) of eight lines by Stockham's passes, from x to y and back; returns where. */
static eight *transform(long n, const double *roots, eight *x, eight *y)
{
    for (long rest = n, done = 1; rest > 1;) {
        const long r = factor(rest), part = rest / r, apart = done * part;
        for (long p = 0; p < part; p++)
            for (long s = 0; s < done; s++) {
                const eight *in = x + done * p + s;
                eight *out = y + done * r * p + s;
                if (r == 4) {
                    const eight a = in[0], b = in[apart], c = in[2 * apart], d = in[3 * apart];
                    const eight e = {a.re + c.re, a.im + c.im}, f = {a.re - c.re, a.im - c.im};
                    const eight g = {b.re + d.re, b.im + d.im}, h = {b.im - d.im, d.re - b.re};
                    const eight first = {f.re + h.re, f.im + h.im}, second = {e.re - g.re, e.im - g.im};
                    const eight third = {f.re - h.re, f.im - h.im};
                    out[0] = (eight){e.re + g.re, e.im + g.im};
                    out[done] = p ? times(first, roots + 2 * done * p) : first;
                    out[2 * done] = p ? times(second, roots + 4 * done * p) : second;
                    out[3 * done] = p ? times(third, roots + 6 * done * p) : third;
                } else
                    for (long k = 0; k < r; k++) {
                        eight sum = in[0];
                        for (long j = 1; j < r; j++) {
                            const eight z = times(in[j * apart], roots + 2 * (apart * j * k % n));
                            sum.re += z.re, sum.im += z.im;
                        }
                        out[k * done] = times(sum, roots + 2 * done * p * k);
                    }
            }
        eight *last = y;
        y = x, x = last;
        rest = part, done *= r;
    }
    return x;
}

/* Eight by eight numbers: lines become columns. */
static inline void turn(const eight *from, long from_step, eight *to, long to_step)
{
    for (long i = 0; i < 8; i++)
        for (long j = 0; j < 8; j++) {
            to[i * to_step].re[j] = from[j * from_step].re[i];
            to[i * to_step].im[j] = from[j * from_step].im[i];
        }
}

/* -u . grad w + f = (d_yy - d_xx)(u v) + d_xy (u^2 - v^2) + f.
   With real and imaginary parts exchanged, before and after, `transform` has the other sign in the exponent. */
static void rate(const flow *a, const eight *w, eight *out)
{
    const long n = a->n, m = a->rows / 2, blocks = a->blocks, columns = (n + 7) / 8;
    for (long b = 0; b < blocks; b++) /* u and v: from k to x, those of opposite waves l are conjugate */
        for (long field = 0; field < 2; field++) {
            eight *x = a->line[0];
            for (long k = 0; k < n; k++)
                x[k] = (eight){{0}, {0}};
            for (long row = 0; row < a->rows; row++) {
                const long i = row * blocks + b;
                const lanes factor = a->velocity[field][i];
                x[row <= m ? row : n - a->rows + row] = (eight){factor * w[i].re, -factor * w[i].im};
            }
            x = transform(n, a->roots, x, a->line[1]);
            for (long c = 0; c < columns; c++)
                turn(x + 8 * c, 1, a->fields[field] + 8 * b * columns + c, columns);
        }
    for (long c = 0; c < columns; c++) { /* z = u + i v from l to y, its square, and back */
        eight *x = a->line[0], *u = a->fields[0] + c, *v = a->fields[1] + c;
        x[0] = (eight){v->im, u->im};
        for (long l = 1; l <= m; l++) {
            const eight p = u[l * columns], q = v[l * columns];
            x[l] = (eight){p.re + q.im, p.im - q.re};
            x[n - l] = (eight){q.im - p.re, p.im + q.re};
        }
        for (long l = m + 1; l < n - m; l++)
            x[l] = (eight){{0}, {0}};
        x = transform(n, a->roots, x, a->line[1]);
        for (long y = 0; y < n; y++)
            x[y] = (eight){x[y].im * x[y].im - x[y].re * x[y].re, 2 * x[y].re * x[y].im};
        x = transform(n, a->roots, x, a->line[x == a->line[0]]);
        for (long l = 0; l <= m; l++) { /* 4 u v and 2 (u^2 - v^2) */
            const eight p = x[l], q = x[l ? n - l : 0];
            u[l * columns] = (eight){p.im + q.im, q.re - p.re};
            v[l * columns] = (eight){p.re + q.re, p.im - q.im};
        }
    }
    for (long b = 0; b < blocks; b++) { /* from x to k */
        eight *found[2];
        for (long field = 0; field < 2; field++) {
            eight *x = a->line[2 * field];
            for (long c = 0; c < columns; c++)
                turn(a->fields[field] + 8 * b * columns + c, columns, x + 8 * c, 1);
            found[field] = transform(n, a->roots, x, a->line[2 * field + 1]);
        }
        for (long row = 0; row < a->rows; row++) {
            const long i = row * blocks + b, k = row <= m ? row : n - a->rows + row;
            const eight p = found[0][k], q = found[1][k];
            out[i].re = a->back[0][i] * p.re + a->back[1][i] * q.re + a->force[i].re;
            out[i].im = a->back[0][i] * p.im + a->back[1][i] * q.im + a->force[i].im;
        }
    }
}

/* `space` has room for 5 (rows, blocks), 2 (8 blocks, columns) and 4 (8 columns), and is zero at first. */
void advance(long n, long rows, long blocks, long steps, const double *roots, const lanes *velocity,
             const lanes *back, const eight *force, const lanes *weights, eight *state, eight *space)
{
    const long size = rows * blocks, columns = (n + 7) / 8, plane = 8 * blocks * columns;
    const lanes *whole = weights, *half = whole + size, *q = half + size;
    const lanes *f1 = q + size, *f2 = f1 + size, *f3 = f2 + size;
    eight *stages = space + 2 * plane, *line = stages + 5 * size;
    const flow flow = {
        n, rows, blocks, roots, {velocity, velocity + size}, {back, back + size}, force,
        {space, space + plane}, {line, line + 8 * columns, line + 16 * columns, line + 24 * columns},
    };
    lanes *u = &state->re, *a = &stages->re, *b = a + 2 * size;
    lanes *n_u = b + 2 * size, *n_a = n_u + 2 * size, *n_b = n_a + 2 * size, *n_c = b;
    for (; steps > 0; steps--) {
        rate(&flow, (eight *)u, (eight *)n_u);
        for (long i = 0; i < 2 * size; i++)
            a[i] = half[i / 2] * u[i] + q[i / 2] * n_u[i];
        rate(&flow, (eight *)a, (eight *)n_a);
        for (long i = 0; i < 2 * size; i++)
            b[i] = half[i / 2] * u[i] + q[i / 2] * n_a[i];
        rate(&flow, (eight *)b, (eight *)n_b);
        for (long i = 0; i < 2 * size; i++) /* c */
            a[i] = half[i / 2] * a[i] + q[i / 2] * (2 * n_b[i] - n_u[i]);
        rate(&flow, (eight *)a, (eight *)n_c);
        for (long i = 0; i < 2 * size; i++)
            u[i] = whole[i / 2] * u[i] + f1[i / 2] * n_u[i] + f2[i / 2] * (n_a[i] + n_b[i])
                + f3[i / 2] * n_c[i];
    }
}
