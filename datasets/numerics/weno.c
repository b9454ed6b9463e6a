/* `advection_change` of conservation.py in one pass over the cells: what `compiled.py` compiles.

   The same operations in the same order as there, so that the results are equal to the bit. */

#include <math.h>

/* Values at both faces of every cell but two at each end; u, low and high begin at the same cell. */
static void faces(long size, const double *restrict u, double *restrict low, double *restrict high)
{
    for (long i = 2; i < size - 2; i++) {
        const double a = u[i - 1] - u[i - 2], b = u[i] - u[i - 1], c = u[i + 1] - u[i], d = u[i + 2] - u[i + 1];
        const double bend0 = b - a, bend1 = c - b, bend2 = d - c;
        const double slope0 = 1.5 * b - a / 2, slope1 = (b + c) / 2, slope2 = 1.5 * c - d / 2;
        const double smooth0 = bend0 * bend0 * (13.0 / 12) + slope0 * slope0;
        const double smooth1 = bend1 * bend1 * (13.0 / 12) + slope1 * slope1;
        const double smooth2 = bend2 * bend2 * (13.0 / 12) + slope2 * slope2;
        const double difference = fabs(smooth0 - smooth2);
        const double ratio0 = difference / (smooth0 + 1e-40), weight0 = 1 + ratio0 * ratio0;
        const double ratio1 = difference / (smooth1 + 1e-40), weight1 = 1 + ratio1 * ratio1;
        const double ratio2 = difference / (smooth2 + 1e-40), weight2 = 1 + ratio2 * ratio2;
        const double middle = 0.6 * weight1;
        double below = 0.3 * weight0, above = 0.1 * weight2;
        low[i] = u[i]
            + (below * ((a - 4 * b) / 6) + middle * ((-2 * b - c) / 6) + above * ((2 * d - 5 * c) / 6))
                / (below + middle + above);
        below = 0.1 * weight0, above = 0.3 * weight2;
        high[i] = u[i]
            + (below * ((5 * b - 2 * a) / 6) + middle * ((b + 2 * c) / 6) + above * ((4 * c - d) / 6))
                / (below + middle + above);
    }
}

/* Rows of averages on a circle, each with its factor alpha; `space` has room for 4 (cells + 6). */
void advection_change(long rows, long cells, const double *u, const double *alpha, double spacing,
                      double *space, double *out)
{
    const long size = cells + 6;
    double *padded = space, *low = space + size, *high = low + size, *flux = high + size;
    for (long row = 0; row < rows; row++, u += cells, out += cells) {
        for (long i = 0; i < size; i++)
            padded[i] = u[(i + cells - 3) % cells];
        faces(size, padded, low, high);
        const double half = alpha[row] / 2;
        for (long i = 0; i <= cells; i++) { /* Godunov's flux; NaN goes on as the larger number */
            double left = high[i + 2], right = low[i + 3];
            left = left <= 0 ? 0 : left * left;
            right = right >= 0 ? 0 : right * right;
            flux[i] = half * (left >= right ? left : right);
        }
        for (long i = 0; i < cells; i++)
            out[i] = (flux[i + 1] - flux[i]) / spacing;
    }
}
