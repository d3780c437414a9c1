"""What is known of the public data sets: names, files, addresses and checksums.

Sizes and SHA-256 of the files that one downloads are those that TensorFlow Datasets
4.9.10 records.  MD5 of unpacked files are the published ones, torchvision's for CIFAR's
pickles.  No checksum of CIFAR's unpacked binary files is published.  But the mean of every
channel is, with so many digits that the sum of all its pixels follows exactly, and each
class has the same number of images (https://www.cs.toronto.edu/~kriz/cifar.html).  Other
sums or numbers prove that the examples are not the official ones.

Sources: LeCun et al., 1998 (MNIST); Xiao et al., arXiv:1708.07747 (Fashion-MNIST);
Krizhevsky, 2009 (CIFAR-10 and CIFAR-100).
"""

from collections.abc import Mapping
from typing import NamedTuple


class Download(NamedTuple):
    """A file as its publisher offers it."""

    url: str
    size: int  # bytes
    sha256: str

    @property
    def filename(self) -> str:
        """The last part of the address."""
        return self.url.rsplit("/", 1)[1]


class Layout(NamedTuple):
    """The files of one edition of a data set: those that hold training and test examples."""

    folder: str  # where they lie once unpacked; "" if there is no folder
    archive: str  # the file that holds that folder; "" if there is no archive
    train: tuple[str, ...]
    test: tuple[str, ...]
    md5: Mapping[str, str]  # of unpacked files, as far as published


class Official(NamedTuple):
    """A public data set."""

    name: str
    class_names: tuple[str, ...]
    downloads: tuple[Download, ...]
    layouts: Mapping[str, Layout]  # by format: "idx", "binary", "pickle"
    largest: int  # bytes that none of its files exceeds, unpacked
    folders: tuple[str, ...]  # where else below data_dir the files may lie
    pixel_sums: Mapping[str, tuple[int, ...]] = {}  # by split: sums of all pixels, by channel


def _names(text: str, separator: str | None = None) -> tuple[str, ...]:
    return tuple(text.split(separator))


def _downloads(address: str, table: str) -> tuple[Download, ...]:
    """From lines of a file's name, its size and its SHA-256."""
    rows = (line.split() for line in table.strip().splitlines())
    return tuple(Download(address + name, int(size), sha256) for name, size, sha256 in rows)


def _layout(train: str, test: str, md5: str = "", folder: str = "", archive: str = "") -> Layout:
    """From the names of the files, and the MD5 of each in the same order, if published."""
    files, checksums = _names(f"{train} {test}"), md5.split()
    by_file = dict(zip(files, checksums, strict=True)) if checksums else {}
    return Layout(folder, archive, _names(train), _names(test), by_file)


def _idx_layout(md5: str) -> Layout:
    images_and_labels = "{0}-images-idx3-ubyte {0}-labels-idx1-ubyte"
    return _layout(images_and_labels.format("train"), images_and_labels.format("t10k"), md5)


_IDX_LARGEST = 16 + 60_000 * 28 * 28
_CIFAR_LARGEST = 200_000_000  # the archives of pickles unpack to 186 MB
_CIFAR_ADDRESS = "https://www.cs.toronto.edu/~kriz/"

MNIST = Official(
    name="mnist",
    class_names=tuple("0123456789"),
    downloads=_downloads(
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        """
train-images-idx3-ubyte.gz 9912422 440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609
train-labels-idx1-ubyte.gz 28881 3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c
t10k-images-idx3-ubyte.gz 1648877 8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6
t10k-labels-idx1-ubyte.gz 4542 f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6
""",
    ),
    layouts={
        "idx": _idx_layout(
            """
            6bbc9ace898e44ae57da46a324031adb a25bea736e30d166cdddb491f175f624
            2646ac647ad5339dbf082846283269ea 27ae3e4e09519cfbb04c329615203637
            """
        )
    },
    largest=_IDX_LARGEST,
    folders=("mnist", "MNIST/raw"),
)

FASHION_MNIST = Official(
    name="fashion_mnist",
    class_names=_names(
        "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot", ","
    ),
    downloads=_downloads(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        """
train-images-idx3-ubyte.gz 26421880 3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84
train-labels-idx1-ubyte.gz 29515 a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845
t10k-images-idx3-ubyte.gz 4422102 346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073
t10k-labels-idx1-ubyte.gz 5148 67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5
""",
    ),
    layouts={
        "idx": _idx_layout(
            """
            f4a8712d7a061bf5bd6d2ca38dc4d50a 9018921c3c673c538a1fc5bad174d6f9
            8181f5470baa50b63fa0f6fddb340f0a 15d484375f8d13e6eb1aabb0c3f46965
            """
        )
    },
    largest=_IDX_LARGEST,
    folders=("fashion_mnist", "fashion-mnist", "FashionMNIST/raw"),
)

CIFAR10 = Official(
    name="cifar10",
    class_names=_names("airplane automobile bird cat deer dog frog horse ship truck"),
    downloads=_downloads(
        _CIFAR_ADDRESS,
        """
cifar-10-binary.tar.gz 170052171 c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd
""",
    ),
    layouts={
        "binary": _layout(
            " ".join(f"data_batch_{i}.bin" for i in range(1, 6)),
            "test_batch.bin",
            folder="cifar-10-batches-bin",
            archive="cifar-10-binary.tar.gz",
        ),
        "pickle": _layout(
            " ".join(f"data_batch_{i}" for i in range(1, 6)),
            "test_batch",
            """
            c99cafc152244af753f735de768cd75f d4bba439e000b95fd0a9bffe97cbabec
            54ebc095f3ab1f0389bbae665268c751 634d18415352ddfa80567beed471001a
            482c414d41f54cd18b22e5b47cb7c3cb 40351d587109b95175f43aff81a1287e
            """,
            folder="cifar-10-batches-py",
            archive="cifar-10-python.tar.gz",
        ),
    },
    largest=_CIFAR_LARGEST,
    folders=("cifar10",),
    pixel_sums={
        "train": (6_415_714_204, 6_295_060_180, 5_829_907_619),
        "test": (1_290_492_328, 1_266_775_083, 1_176_108_223),
    },
)

CIFAR100 = Official(
    name="cifar100",
    class_names=_names(
        """apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus
        butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch
        crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house
        kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
        mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree
        plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark
        shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table
        tank telephone television tiger tractor train trout tulip turtle wardrobe whale
        willow_tree wolf woman worm"""
    ),
    downloads=_downloads(
        _CIFAR_ADDRESS,
        """
cifar-100-binary.tar.gz 168513733 58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec
""",
    ),
    layouts={
        "binary": _layout(
            "train.bin", "test.bin", folder="cifar-100-binary", archive="cifar-100-binary.tar.gz"
        ),
        "pickle": _layout(
            "train",
            "test",
            "16019d7e3df5f24257cddd939b257f8d f0ef6b0ae62326f3e7ffdfab6717acfc",
            folder="cifar-100-python",
            archive="cifar-100-python.tar.gz",
        ),
    },
    largest=_CIFAR_LARGEST,
    folders=("cifar100",),
    pixel_sums={
        "train": (6_620_373_279, 6_352_382_090, 5_756_623_363),
        "test": (1_328_569_193, 1_272_680_636, 1_153_999_502),
    },
)

OFFICIAL: Mapping[str, Official] = {
    official.name: official for official in (MNIST, FASHION_MNIST, CIFAR10, CIFAR100)
}
# Which data set an unpacked file belongs to: MNIST and Fashion-MNIST share their file names.
OWNERS: Mapping[str, str] = {
    md5: official.name
    for official in OFFICIAL.values()
    for layout in official.layouts.values()
    for md5 in layout.md5.values()
}
