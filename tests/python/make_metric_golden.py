"""Writes crates/gan/tests/golden/metrics.json: what numpy, scipy and scikit-image say of the metrics of `belamy evaluate`.

    python tests/python/make_metric_golden.py [FOLDER-OF-SET5]

Inputs are made from a linear congruential generator that the Rust test repeats, so the file holds results only. Nothing
here calls the code under test. With a folder of Set5's PNG files, PSNR and SSIM of bicubic x4 are computed too, by a
bicubic filter written out as a matrix.
"""

import json
import sys
from pathlib import Path

import numpy as np
import scipy
import scipy.linalg
import scipy.ndimage
import scipy.spatial.distance
import skimage
import skimage.metrics


def numbers(count, seed):
    """uniform numbers in [0, 1) with 24 bits"""
    state, values = seed, np.empty(count)
    for index in range(count):
        state = (state * 1664525 + 1013904223) % 2**32
        values[index] = (state >> 8) / 2**24
    return values


def features(count, length, seed, scale, shift):
    """rows whose features are correlated: each adds half of the one before"""
    rows = numbers(count * length, seed).reshape(count, length) * scale + shift
    for column in range(1, length):
        rows[:, column] += 0.5 * rows[:, column - 1]
    return rows


def frechet(a, b):
    covariance_a, covariance_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(covariance_a @ covariance_b)
    means = np.sum((a.mean(0) - b.mean(0)) ** 2)
    return [means, np.trace(covariance_a + covariance_b - 2 * root.real)]


def discrepancy(a, b):
    kernel = lambda x, y: (x @ y.T / x.shape[1] + 1) ** 3
    off = lambda matrix: matrix.sum() - np.trace(matrix)
    m, n = len(a), len(b)
    return off(kernel(a, a)) / m / (m - 1) + off(kernel(b, b)) / n / (n - 1) - 2 * kernel(a, b).mean()


def neighbours(real, fake, k, k_dense):
    """as in clovaai/generative-evaluation-prdc, but with surfaces inside"""
    distances = scipy.spatial.distance.cdist
    radii = lambda x, k: np.sort(distances(x, x), axis=1)[:, k]
    cross = distances(real, fake)
    return [
        float((cross <= radii(real, k)[:, None]).any(axis=0).mean()),
        float((cross <= radii(fake, k)[None, :]).any(axis=1).mean()),
        float((cross <= radii(real, k_dense)[:, None]).sum(axis=0).mean() / k_dense),
        float((cross.min(axis=1) <= radii(real, k_dense)).mean()),
    ]


BINOMIAL = np.array([1.0, 4, 6, 4, 1]) / 16
BINOMIAL = np.outer(BINOMIAL, BINOMIAL)


def pyramid(image, scales):
    """one channel"""
    levels = [image]
    for _ in range(scales - 1):
        small = scipy.ndimage.convolve(levels[-1], BINOMIAL, mode="mirror")[::2, ::2]
        spread = np.zeros_like(levels[-1])
        spread[::2, ::2] = small
        levels[-1] = levels[-1] - scipy.ndimage.convolve(spread, 4 * BINOMIAL, mode="mirror")
        levels.append(small)
    return levels


def multi_scale(a, b, peak):
    weights = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333]
    product = 1.0
    for scale, weight in enumerate(weights):
        size = min(11, *a.shape)
        places = np.arange(size) - (size - 1) / 2
        window = np.exp(-(places**2) / (2 * (size * 1.5 / 11) ** 2))
        window = np.outer(window, window) / window.sum() ** 2
        view = lambda x: np.lib.stride_tricks.sliding_window_view(x, window.shape)
        mean = lambda x: (view(x) * window).sum(axis=(2, 3))
        c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
        mean_a, mean_b = mean(a), mean(b)
        cs = (2 * (mean(a * b) - mean_a * mean_b) + c2) / (
            mean(a * a) - mean_a**2 + mean(b * b) - mean_b**2 + c2
        )
        whole = cs * (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
        product *= max((whole if scale == 4 else cs).mean(), 0) ** weight
        half = lambda x: np.pad(x, [(0, n % 2) for n in x.shape], mode="edge")
        block = lambda x: (x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4
        a, b = block(half(a)), block(half(b))
    return product


def sliced(a, b, directions):
    return np.mean([scipy.stats.wasserstein_distance(a @ d, b @ d) for d in directions])


def bicubic_matrix(source, target):
    scale = target / source
    matrix = np.zeros((target, source))
    narrow = min(scale, 1)
    for row in range(target):
        centre = (row + 0.5) / scale - 0.5
        for place in range(int(np.floor(centre - 2 / narrow)), int(np.ceil(centre + 2 / narrow)) + 1):
            x = abs(narrow * (centre - place))
            if x <= 1:
                weight = 1.5 * x**3 - 2.5 * x**2 + 1
            elif x <= 2:
                weight = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
            else:
                continue
            inside = place % (2 * source)
            matrix[row, inside if inside < source else 2 * source - 1 - inside] += weight
    return matrix / matrix.sum(axis=1, keepdims=True)


def super_resolution(folder):
    from PIL import Image

    results = {}
    for path in sorted(Path(folder).glob("*.png")):
        image = np.asarray(Image.open(path).convert("RGB")).astype(float)
        height, width = (extent // 4 * 4 for extent in image.shape[:2])
        image = image[:height, :width]
        resize = lambda x, h, w: np.clip(
            np.floor(
                np.einsum("yh,hwc,xw->yxc", bicubic_matrix(x.shape[0], h), x, bicubic_matrix(x.shape[1], w)) + 0.5
            ),
            0,
            255,
        )
        large = resize(resize(image, height // 4, width // 4), height, width)
        luminance = lambda x: (16 + x @ np.array([65.481, 128.553, 24.966]) / 255)[4:-4, 4:-4]
        a, b = luminance(image), luminance(large)
        results[path.stem] = [
            skimage.metrics.peak_signal_noise_ratio(a, b, data_range=255),
            skimage.metrics.structural_similarity(
                a, b, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
            ),
        ]
    return results


def main():
    real, fake = features(300, 8, 1, 1.0, 0.0), features(200, 8, 2, 1.3, 0.1)
    few, many = features(12, 20, 3, 1.0, 0.0), features(15, 20, 4, 2.0, 0.3)
    a, b = numbers(45 * 37, 5).reshape(45, 37), numbers(45 * 37, 6).reshape(45, 37)
    b = 0.7 * a + 0.3 * b
    symmetric = numbers(40 * 40, 7).reshape(40, 40) - 0.5
    image = numbers(64 * 64, 8).reshape(64, 64)
    rows_a, rows_b = numbers(500 * 6, 9).reshape(500, 6), numbers(500 * 6, 10).reshape(500, 6) ** 2
    directions = numbers(10 * 6, 11).reshape(10, 6) - 0.5
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    document = {
        "made_with": f"numpy {np.__version__}, scipy {scipy.__version__}, scikit-image {skimage.__version__}",
        "frechet": frechet(real, fake),
        "frechet_singular": frechet(few, many),
        "discrepancy": discrepancy(real, fake),
        "neighbours": neighbours(real, fake, 3, 5),
        "eigenvalues": list(np.linalg.eigvalsh(symmetric + symmetric.T)),
        "psnr": skimage.metrics.peak_signal_noise_ratio(a, b, data_range=1.0),
        "ssim": skimage.metrics.structural_similarity(
            a, b, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        ),
        "ms_ssim": multi_scale(a, b, 1.0),
        "ms_ssim_28": multi_scale(a[:28, :28], b[:28, :28], 1.0),
        "pyramid": [[level.flat[0], level.flat[-1], level.std(), np.abs(level).sum()] for level in pyramid(image, 3)],
        "sliced": sliced(rows_a, rows_b, directions),
    }
    if len(sys.argv) > 1:
        document["set5"] = super_resolution(sys.argv[1])
    path = Path(__file__).parents[2] / "crates/gan/tests/golden/metrics.json"
    path.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
