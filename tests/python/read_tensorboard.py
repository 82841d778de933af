"""Reads a run's TensorBoard events with PyPI's `tensorboard` and prints what it found as JSON.

    python tests/python/read_tensorboard.py RUN

Prints {"scalars": {tag: {"count", "first_step", "last_step", "last_value"}}, "images": {tag: {"count", "width",
"height"}}}. Exits with 1, saying why on stderr, if the folder holds no readable scalar or an image that is no PNG.
"""

import json
import math
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    # 0 keeps everything; by default scalars are sampled.
    events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    tags = events.Tags()
    found = {"scalars": {}, "images": {}}
    for tag in sorted(tags["scalars"]):
        values = events.Scalars(tag)
        if not values:
            continue  # All of them were voided by a resumed run.
        last = values[-1].value
        found["scalars"][tag] = {
            "count": len(values),
            "first_step": values[0].step,
            "last_step": values[-1].step,
            # JSON knows no NaN.
            "last_value": last if math.isfinite(last) else None,
        }
    for tag in sorted(tags["images"]):
        images = events.Images(tag)
        if not images:
            continue
        if not all(image.encoded_image_string.startswith(b"\x89PNG\r\n\x1a\n") for image in images):
            print(f"{sys.argv[1]}: an image of {tag} is no PNG", file=sys.stderr)
            return 1
        found["images"][tag] = {
            "count": len(images),
            "width": images[-1].width,
            "height": images[-1].height,
        }
    print(json.dumps(found, indent=2))
    if not found["scalars"]:
        print(f"{sys.argv[1]}: TensorBoard finds no scalar in it", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
