"""What a sweep's spec may say of its data: a section for each data set, told apart by `name`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator

from orchestrator.spec.section import Scalar, Section, Written

Positive = Annotated[int, Field(ge=1)]


class Drawn(Section):
    """A data set whose validation images are drawn from its training images."""

    name: str
    validation: float = Field(default=0.1, ge=0, lt=1)
    """Fraction of the training images that steers and never trains; 0 where nothing steers."""
    split_seed: int = Field(default=0, ge=0)
    """Seed of the draw. One for the whole sweep, so that every trial sees the same split."""


class Normalised(Drawn):
    """A data set whose normalisation may be given."""

    mean: Annotated[tuple[float, ...], Written] | None = None
    """Mean of each channel in 0..1, to normalise with (default: measured on the training images)."""
    std: Annotated[tuple[float, ...], Written] | None = None
    """Standard deviation of each channel, likewise."""


class Digits(Drawn):
    """scikit-learn's handwritten digits: 1,797 real 8x8 grey images, 10 classes, embedded."""

    name: Literal["digits"] = "digits"
    test: float = Field(default=0.2, gt=0, lt=1)
    """Fraction of all images held out for the final test, drawn class by class with the same seed."""


class Cifar(Normalised):
    """The 60,000 images of 32x32 pixels of Krizhevsky, in the layout of the published Python archive."""

    root: str = Field(default="data", min_length=1)
    """The folder that holds the unpacked archive's. A relative one starts where the command is run."""
    download: bool = True
    """Fetch the archive into `root` where it is not there yet."""


class Cifar10(Cifar):
    """CIFAR-10: 50,000 training and 10,000 test images, 32x32, 10 classes."""

    name: Literal["cifar10"]


class Cifar100(Cifar):
    """CIFAR-100: 50,000 training and 10,000 test images, 32x32, 100 (fine) classes."""

    name: Literal["cifar100"]


class TinyImageNet(Normalised):
    """Tiny ImageNet as published: 100,000 training images of 64x64 in 200 classes; its val/ is the test set."""

    name: Literal["tiny_imagenet"]
    root: str = Field(default="data/tiny-imagenet-200", min_length=1)
    """The unpacked folder, with wnids.txt, train/ and val/ in it."""


class ImageNet(Normalised):
    """ImageNet (ILSVRC 2012) in torchvision's layout, train/WNID and val/WNID; val/ is the test set. Images are
    read batch by batch: resized and cut from the centre, or by `random_resized_crop` from the whole image."""

    name: Literal["imagenet"]
    root: str = Field(min_length=1, examples=["data/imagenet"])
    """The folder that holds train/ and val/."""
    size: int = Field(default=224, ge=1)
    """Side of the square that networks see."""
    resize: int = Field(default=256, ge=1)
    """Length of an image's shorter side before the square is cut from its centre."""
    mean: Annotated[tuple[float, ...], Written] | None = (0.485, 0.456, 0.406)
    """Mean of each channel in 0..1, to normalise with; null measures it on the training images."""
    std: Annotated[tuple[float, ...], Written] | None = (0.229, 0.224, 0.225)
    """Standard deviation of each channel, likewise."""

    @model_validator(mode="after")
    def _the_square_fits(self) -> ImageNet:
        if self.resize < self.size:
            raise ValueError(f"no square of {self.size} fits into a shorter side of {self.resize}; raise `resize`")
        return self


class ImageFolder(Normalised):
    """A folder with train/ and test/, a folder a class in each; decoded once, shared by a node's trials."""

    name: Literal["image_folder"]
    root: str = Field(min_length=1, examples=["data/cifar10"])
    """The folder. A relative one starts where the command is run."""
    size: int | None = Field(default=None, ge=1)
    """Side of the square to make of every image: its shorter side resized to it, its centre cut out. Needed where
    images differ in size."""
    stream: bool | None = None
    """Read the files batch by batch instead of decoding them once (default: only where they would take more than
    32 GiB decoded)."""


class Fake(Drawn):
    """Random images that can be learnt, a pattern a class under noise: for benchmarks and dry runs."""

    name: Literal["fake"]
    shape: Annotated[tuple[Positive, Positive, Positive], Written] = (3, 32, 32)
    """Channels, height and width."""
    classes: int = Field(default=10, ge=2)
    """Number of classes."""
    train: int = Field(default=1000, ge=1)
    """Training images, validation included; classes take turns."""
    test: int = Field(default=200, ge=1)
    """Test images."""
    seed: int = Field(default=0, ge=0)
    """Seed of the images."""


class UserData(Normalised):
    """A user's own data set by `module:factory`; further keys are options of the factory."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, use_attribute_docstrings=True)
    __pydantic_extra__: dict[str, Scalar] = {}  # noqa: RUF012  pydantic's own

    name: str = Field(json_schema_extra={"pattern": ":"})
    """`module:factory`."""

    @property
    def options(self) -> dict[str, Scalar]:
        """Options of the factory, as written."""
        return dict(self.__pydantic_extra__ or {})


USERS = "module:factory"
"""How messages call a user's own data set."""

DATA_SETS: dict[str, type[Section]] = {
    "digits": Digits,
    "cifar10": Cifar10,
    "cifar100": Cifar100,
    "tiny_imagenet": TinyImageNet,
    "imagenet": ImageNet,
    "image_folder": ImageFolder,
    "fake": Fake,
    USERS: UserData,
}
"""The section of every data set, by its name."""


def data_set(value: Any) -> str | None:
    """Which of `DATA_SETS` a mapping or section names; the name itself if none, None without a name."""
    if not isinstance(value, (dict, Section)):
        return None
    name = value.get("name") if isinstance(value, dict) else getattr(value, "name", None)
    if name is None:
        return None
    return USERS if isinstance(name, str) and ":" in name else str(name)


Data = Annotated[
    Annotated[Digits, Tag("digits")]
    | Annotated[Cifar10, Tag("cifar10")]
    | Annotated[Cifar100, Tag("cifar100")]
    | Annotated[TinyImageNet, Tag("tiny_imagenet")]
    | Annotated[ImageNet, Tag("imagenet")]
    | Annotated[ImageFolder, Tag("image_folder")]
    | Annotated[Fake, Tag("fake")]
    | Annotated[UserData, Tag(USERS)],
    Discriminator(data_set),
]
