import pytest
import torch

from difflut.registry import AUGMENTATIONS
from difflut.training.appearance import colours, cutout, in_turn
from difflut.training.augmentations import affine, elastic, shift


def images(rows=64, channels=(3,)):
    return torch.randint(1, 256, (rows, 9, 8, *channels), dtype=torch.uint8)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    "options", [{"zoom": 1.0}, {"zoom": -0.1}, {"shear": -0.5}, {"rotation": -3.0}, {"shift": -1.0}]
)
def test_amounts_that_cannot_be_are_refused(options):
    with pytest.raises(ValueError, match="must be 0 or more, and zoom below 1"):
        affine(images(rows=2), seeded(), **options)
    with pytest.raises(ValueError, match="pixels=-1 must be 0 or more"):
        shift(images(rows=2), seeded(), pixels=-1)


@pytest.mark.parametrize("augmentation", AUGMENTATIONS.values(), ids=AUGMENTATIONS)
@pytest.mark.parametrize("channels", [(), (3,)])
def test_images_keep_their_form_and_the_seed_decides(augmentation, channels):
    x = images(channels=channels)
    first, again, other = (augmentation(x, seeded(seed)) for seed in (0, 0, 1))
    assert first.shape == x.shape and first.dtype == x.dtype
    assert torch.equal(first, again) and not torch.equal(first, other) and not torch.equal(first, x)


def test_shifts_are_those_of_each_image_alone():
    x = images(rows=200)
    moved = shift(x, seeded(), pixels=1, flip=True)
    forms = set()
    for image, result in zip(x, moved, strict=True):
        padded = torch.zeros(11, 10, 3, dtype=torch.uint8)
        for mirrored in (False, True):
            padded[1:10, 1:9] = image.flip(1) if mirrored else image
            for down in range(3):
                for right in range(3):
                    if torch.equal(result, padded[down : down + 9, right : right + 8]):
                        forms.add((down, right, mirrored))
                        break
    assert len(forms) == 18


def test_affine_by_nothing_changes_nothing():
    x = images()
    assert torch.equal(affine(x, seeded(), shift=0, rotation=0, zoom=0), x)


def test_affine_moves_by_at_most_the_shift():
    x = torch.zeros(500, 21, 21, dtype=torch.float32)
    x[:, 10, 10] = 1
    moved = affine(x, seeded(), shift=2.0, rotation=0, zoom=0)
    assert moved.sum((1, 2)) == pytest.approx(1, abs=1e-4)
    place = torch.arange(21.0) - 10
    for weights in (moved.sum(1), moved.sum(2)):
        centre = weights @ place
        assert 1.9 < centre.max() <= 2 + 1e-4 and -2 - 1e-4 <= centre.min() < -1.9
        assert abs(centre.mean()) < 0.2


def test_affine_turns_about_the_centre_without_distortion():
    x = torch.zeros(400, 41, 31, dtype=torch.float32)
    x[:, 20, 15 + 10 : 15 + 13] = 1
    moved = affine(x, seeded(), shift=0, rotation=90, zoom=0)
    mass = moved.sum((1, 2))
    down, right = (moved.sum(2) @ (torch.arange(41.0) - 20)) / mass, (moved.sum(1) @ (torch.arange(31.0) - 15)) / mass
    assert (down**2 + right**2).sqrt() == pytest.approx(11, abs=0.2)
    angle = torch.atan2(down, right).rad2deg()
    assert angle.max() > 85 and angle.min() < -85


def test_affine_flips_half_of_the_images():
    x = images(rows=400)
    moved = affine(x, seeded(), shift=0, rotation=0, zoom=0, flip=True)
    mirrored = (moved == x.flip(2)).flatten(1).all(1)
    assert 150 < mirrored.sum() < 250 and torch.equal(moved[~mirrored], x[~mirrored])


def test_nearest_interpolation_mixes_no_pixels():
    x = torch.randint(0, 2, (50, 9, 8), dtype=torch.uint8) * 200
    mixed, nearest = (affine(x, seeded(), shift=1.5, interpolation=name) for name in ("bilinear", "nearest"))
    assert set(nearest.unique().tolist()) == {0, 200} and len(mixed.unique()) > 50
    assert (nearest.float() - mixed.float()).abs().mean() < 60  # of two pictures that have nothing in common: 100
    with pytest.raises(ValueError, match="interpolation='cubic' must be one of bilinear, nearest"):
        affine(x, seeded(), interpolation="cubic")


def test_elastic_without_bending_is_affine():
    x = images()
    assert torch.equal(elastic(x, seeded(), bend=0.0, shift=1.0, rotation=9.0, zoom=0.1), affine(x, seeded(), 1.0, 9.0))
    assert not torch.equal(elastic(x, seeded(), 1.0, 4, 1.0, 9.0, 0.1), affine(x, seeded(), 1.0, 9.0))
    for options in ({"bend": -1.0}, {"points": 1}):
        with pytest.raises(ValueError, match="at least 2"):
            elastic(x, seeded(), **options)


def test_elastic_moves_smoothly_and_by_at_most_the_bend():
    rows, height, width = 300, 41, 31
    down, right = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    x = torch.stack((down, right), 2).expand(rows, -1, -1, -1)  # each pixel says where it is
    moved = elastic(x, seeded(), bend=2.0, points=4, shift=0, rotation=0, zoom=0)
    by = (moved - x)[:, 4:-4, 4:-4]
    for axis in range(2):
        assert 1.8 < by[..., axis].abs().max() < 2.9  # bicubic curves pass a little beyond their points
        assert by[..., axis].abs().mean() > 0.4 and abs(by[..., axis].mean()) < 0.1
    spread = by.mean(0).abs().max()  # no two images move alike
    steps = max(by.diff(dim=1).abs().max(), by.diff(dim=2).abs().max())
    assert spread < 0.3 and 0.2 < steps < 1


@pytest.mark.parametrize("augmentation", AUGMENTATIONS.values(), ids=AUGMENTATIONS)
def test_tables_cannot_be_augmented(augmentation):
    with pytest.raises(ValueError, match=r"needs images .* got the shape \(4, 7\)"):
        augmentation(torch.rand(4, 7), seeded())


def test_a_square_is_cut_out_of_each_image_wherever_its_centre_falls():
    x, side = images(rows=3000), 4
    zero = cutout(x, seeded(), side=side) == 0
    assert torch.equal(cutout(x, seeded(), side=side), torch.where(zero, 0, x))
    assert (zero == zero[..., :1]).all()
    places = set()
    for cut in zero[..., 0]:
        lines, columns = cut.any(1).nonzero().flatten().tolist(), cut.any(0).nonzero().flatten().tolist()
        assert int(cut.sum()) == len(lines) * len(columns) and max(len(lines), len(columns)) <= side
        assert lines == [*range(lines[0], lines[-1] + 1)] and columns == [*range(columns[0], columns[-1] + 1)]
        places.add((lines[0], lines[-1], columns[0], columns[-1]))
    assert len(places) == 9 * 8  # one for each centre
    assert {(top, bottom) for top, bottom, _, _ in places if bottom - top < 3} == {(0, 1), (0, 2), (6, 8)}


def test_colours_scale_the_distance_from_the_mean_then_each_channel():
    x = torch.rand(300, 5, 4, 3) + 0.5
    contrasts = colours(x, seeded(), brightness=0, contrast=0.4, tint=0)
    mean = x.mean((1, 2), keepdim=True)
    factors = ((contrasts - mean) / (x - mean)).flatten(1).median(1).values
    torch.testing.assert_close(contrasts, mean + (x - mean) * factors[:, None, None, None])
    assert 0.6 <= factors.min() < 0.62 and 1.38 < factors.max() <= 1.4
    factors = (colours(x, seeded(), brightness=0.3, contrast=0, tint=0) / x).flatten(1)
    torch.testing.assert_close(factors, factors[:, :1].expand_as(factors))
    assert 0.7 <= factors.min() < 0.72 and 1.28 < factors.max() <= 1.3001
    factors = (colours(x, seeded(), brightness=0, contrast=0, tint=0.2) / x).flatten(1, 2)
    torch.testing.assert_close(factors, factors[:, :1].expand_as(factors))
    assert 0.8 <= factors.min() < 0.82 and not torch.allclose(factors[:, 0, 0], factors[:, 0, 1], atol=0.05)


def test_brightness_contrast_and_tints_are_drawn_independently():
    x = torch.rand(400, 5, 4, 3) + 0.5
    mean, none = x.mean((1, 2), keepdim=True), {"brightness": 0, "contrast": 0, "tint": 0}
    contrast = ((colours(x, seeded(), **none | {"contrast": 0.4}) - mean) / (x - mean)).flatten(1).median(1).values
    brightness = (colours(x, seeded(), **none | {"brightness": 0.3}) / x)[:, 0, 0, 0]
    tints = (colours(x, seeded(), **none | {"tint": 0.2}) / x)[:, 0, 0].unbind(1)
    together = torch.corrcoef(torch.stack([contrast, brightness, *tints]))
    assert (together - torch.eye(5)).abs().max() < 0.25  # five standard deviations


def test_whole_numbers_stay_within_their_type():
    x = torch.tensor([1, 254, 255], dtype=torch.uint8).repeat(40, 5, 1)
    changed = colours(x, seeded(), brightness=0.9, contrast=0, tint=0).float()
    expected = colours(x.float(), seeded(), brightness=0.9, contrast=0, tint=0).round().clamp(0, 255)
    assert torch.equal(changed, expected) and (expected == 255).any()


def test_augmentations_in_turn_draw_from_one_generator():
    x, generator = images(), seeded(3)
    expected = cutout(shift(x, generator, flip=True), generator)
    assert torch.equal(in_turn(x, seeded(3), steps=[lambda x, g: shift(x, g, flip=True), cutout]), expected)


@pytest.mark.parametrize(
    ("augmentation", "options", "message"),
    [
        (cutout, {"side": 0}, "side=0 must be 1 or more"),
        (colours, {"contrast": 1.5}, r"contrast=1\.5 and tint=0\.1 must lie between 0 and 1"),
        (colours, {"tint": -0.1}, r"tint=-0\.1 must lie between 0 and 1"),
        (in_turn, {"steps": []}, r"steps=\[\] must hold at least one augmentation"),
    ],
)
def test_changes_that_cannot_be_are_named(augmentation, options, message):
    with pytest.raises(ValueError, match=message):
        augmentation(images(rows=2), seeded(), **options)


def test_images_move_as_far_as_said_and_no_farther():
    images = torch.zeros(600, 9, 9)
    images[:, 4, 4] = 1.0
    moved = shift(images, torch.Generator().manual_seed(0), pixels=2)
    _, line, column = moved.nonzero().unbind(1)
    assert set(zip(line.tolist(), column.tolist(), strict=True)) == {(y, x) for y in range(2, 7) for x in range(2, 7)}
