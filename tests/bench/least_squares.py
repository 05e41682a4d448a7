"""Least squares in single against double precision: `./dev bench least_squares [--rows N] [--features D]`.

Rows are ReLU random features of points in a few clouds, as a head has them. They pass through the recursion in blocks
of 16; what it ends with is compared with one solve in double precision. Ten looks, at equal distances.
"""

import argparse

import torch

from streamlearn.learning.closed_form import LeastSquares

CLASSES, WIDTH, BLOCK, RIDGE = 50, 64, 16, 10.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--features", type=int, default=500)
    given = parser.parse_args()
    draw = torch.Generator().manual_seed(0)
    centres = torch.randn(CLASSES, WIDTH, generator=draw)
    projection = torch.randn(WIDTH, given.features, generator=draw) / WIDTH**0.5
    own = LeastSquares(given.features, ridge=RIDGE, device=torch.device("cpu"))
    own.grow(CLASSES)
    gram = RIDGE * torch.eye(given.features, dtype=torch.float64)
    moments = torch.zeros(given.features, CLASSES, dtype=torch.float64)
    looks = {given.rows // BLOCK * at // 10 for at in range(1, 11)}
    for block in range(1, given.rows // BLOCK + 1):
        labels = torch.randint(CLASSES, (BLOCK,), generator=draw)
        points = centres[labels] + 0.7 * torch.randn(BLOCK, WIDTH, generator=draw)
        rows, targets = torch.relu(points @ projection), torch.nn.functional.one_hot(labels, CLASSES).float()
        own.learn(rows, targets)
        gram.addmm_(rows.double().T, rows.double())
        moments.addmm_(rows.double().T, targets.double())
        if block in looks:
            own.settle()
            exact = torch.linalg.solve(gram, moments)
            error = (own.weights.double() - exact).norm() / exact.norm()
            print(f"{block * BLOCK:>9,} rows: relative error of the weights {error:.1e}", flush=True)


if __name__ == "__main__":
    main()
