"""The classifiers in scikit-learn's form, for pipelines, searches and evaluators.

    from lincls.estimators import KNNClassifier, SoftmaxClassifier
    cross_val_score(make_pipeline(PCA(20), KNNClassifier(3)), X, y)

They check, number the classes and call the functions of this library, whose results they return
in the same bits: `knn.neighbors` and votes, `optimum` or `quick.fit`, `probe` or `crossval`.
scikit-learn is imported in this package alone, and `import lincls` does not import it.
"""

from lincls.estimators.neighbors import KNNClassifier
from lincls.estimators.probe import LinearProbeCV
from lincls.estimators.softmax_svm import SoftmaxClassifier, SVMClassifier

__all__ = ["KNNClassifier", "LinearProbeCV", "SVMClassifier", "SoftmaxClassifier"]
