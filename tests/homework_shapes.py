"""Right homework in the shapes of public assignments, written for these tests."""

LECTURE = """
import numpy as np

def l1_distances(queries, X):
    return np.abs(queries[:, None].astype(float) - X.astype(float)).sum(axis=-1)

def l2_distances(queries, X):
    return np.square(queries[:, None].astype(float) - X.astype(float)).sum(axis=-1)

def nearest_neighbor(X, y, queries):
    return y[l1_distances(queries, X).argmin(axis=1)]

def knn(X, y, queries, k):
    order = np.argsort(l2_distances(queries, X), axis=1, kind="stable")[:, :k]
    return np.array([np.bincount(labels).argmax() for labels in y[order]])

def accuracy(predictions, labels):
    return np.mean(predictions == labels)

def confusion(predictions, labels, num_classes):
    counts = np.zeros((num_classes, num_classes), int)
    np.add.at(counts, (labels, predictions), 1)
    return counts

def folds(num_examples, num_folds):
    parts = np.array_split(np.arange(num_examples), num_folds)
    return np.concatenate([np.full(len(part), f) for f, part in enumerate(parts)])

def scores(params, X):
    W, b = params
    return X @ W.T + b

def _margins(scores, labels, margin):
    rows = np.arange(len(labels))
    found = np.maximum(scores - scores[rows, labels][:, None] + margin, 0)
    found[rows, labels] = 0
    return found

def hinge(scores, labels, margin=1.0):
    return _margins(scores, labels, margin).sum(axis=1)

def squared_hinge(scores, labels, margin=1.0):
    return (_margins(scores, labels, margin) ** 2).sum(axis=1)

def crammer_singer_hinge(scores, labels, margin=1.0):
    return _margins(scores, labels, margin).max(axis=1)

def _log_shares(scores):
    scores = scores - scores.max(axis=1, keepdims=True)
    return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))

def softmax(scores, labels):
    return -_log_shares(scores)[np.arange(len(labels)), labels]

def hinge_gradient(scores, labels):
    rows, found = np.arange(len(labels)), (_margins(scores, labels, 1.0) > 0) * 1.0
    found[rows, labels] = -found.sum(axis=1)
    return found

def squared_hinge_gradient(scores, labels):
    rows, found = np.arange(len(labels)), 2 * _margins(scores, labels, 1.0)
    found[rows, labels] = -found.sum(axis=1)
    return found

def softmax_gradient(scores, labels):
    shares = np.exp(_log_shares(scores))
    shares[np.arange(len(labels)), labels] -= 1
    return shares

def L_i_vectorized(x, y, W):
    s = W.dot(x)
    margins = np.maximum(0, s - s[y] + 1)
    margins[y] = 0
    return np.sum(margins)

def l1(W):
    return np.abs(W).sum()

def l2(W):
    return (W * W).sum()

def elastic_net(W, beta=1.0):
    return (beta * W * W).sum() + np.abs(W).sum()

def l1_gradient(W):
    return np.sign(W)

def l2_gradient(W):
    return 2 * W

def max_norm(W, radius):
    norm = np.sqrt((W * W).sum(axis=1, keepdims=True))
    return W * np.minimum(1, radius / np.maximum(norm, 1e-12))

def eval_numerical_gradient(f, x):
    value, slopes, h = f(x), np.zeros(x.shape), 1e-5
    for place in np.ndindex(x.shape):
        old = x[place]
        x[place] = old + h
        slopes[place] = (f(x) - value) / h
        x[place] = old
    return slopes

def sgd_step(W, dW, learning_rate):
    return W - learning_rate * dW

class NearestNeighbor:
    def train(self, X, y):
        self.Xtr, self.ytr = X, y

    def predict(self, X):
        labels = np.zeros(X.shape[0], dtype=self.ytr.dtype)
        for i in range(X.shape[0]):
            apart = np.sum(np.abs(self.Xtr - X[i, :]), axis=1)
            labels[i] = self.ytr[np.argmin(apart)]
        return labels
"""

LOOPS_AND_CLASSES = """
import numpy as np
from past.builtins import xrange

def svm_loss_naive(W, X, y, reg):
    loss, dW = 0.0, np.zeros(W.shape)
    num_train, num_classes = X.shape[0], W.shape[1]
    for i in xrange(num_train):
        scores = X[i].dot(W)
        for j in xrange(num_classes):
            if j == y[i]:
                continue
            margin = scores[j] - scores[y[i]] + 1
            if margin > 0:
                loss += margin
                dW[:, j] += X[i]
                dW[:, y[i]] -= X[i]
    loss /= num_train
    dW /= num_train
    loss += reg * np.sum(W * W)
    dW += 2 * reg * W
    return loss, dW

def svm_loss_vectorized(W, X, y, reg):
    num_train = X.shape[0]
    scores = X.dot(W)
    rows = np.arange(num_train)
    margins = np.maximum(0, scores - scores[rows, y].reshape(-1, 1) + 1)
    margins[rows, y] = 0
    loss = np.sum(margins) / num_train + reg * np.sum(W * W)
    mask = np.where(margins > 0, 1.0, 0.0)
    mask[rows, y] = -np.sum(mask, axis=1)
    dW = X.T.dot(mask) / num_train + 2 * reg * W
    return loss, dW

def softmax_loss_naive(W, X, y, reg):
    loss, dW = 0.0, np.zeros_like(W)
    num_train, num_classes = X.shape[0], W.shape[1]
    for i in range(num_train):
        scores = X[i].dot(W)
        scores -= np.max(scores)
        p = np.exp(scores) / np.sum(np.exp(scores))
        loss += -np.log(p[y[i]])
        for j in range(num_classes):
            dW[:, j] += (p[j] - (j == y[i])) * X[i]
    loss = loss / num_train + reg * np.sum(W * W)
    dW = dW / num_train + 2 * reg * W
    return loss, dW

def softmax_loss_vectorized(W, X, y, reg):
    num_train = len(y)
    scores = X.dot(W)
    scores -= scores.max(axis=1, keepdims=True)
    p = np.exp(scores)
    p /= p.sum(axis=1, keepdims=True)
    rows = np.arange(num_train)
    loss = -np.log(p[rows, y]).mean() + reg * np.sum(W ** 2)
    p[rows, y] -= 1
    return loss, X.T.dot(p) / num_train + 2 * reg * W

class KNearestNeighbor(object):
    def train(self, X, y):
        self.X_train = X
        self.y_train = y

    def predict(self, X, k=1, num_loops=0):
        if num_loops == 0:
            dists = self.compute_distances_no_loops(X)
        elif num_loops == 1:
            dists = self.compute_distances_one_loop(X)
        else:
            dists = self.compute_distances_two_loops(X)
        return self.predict_labels(dists, k=k)

    def compute_distances_two_loops(self, X):
        dists = np.zeros((X.shape[0], self.X_train.shape[0]))
        for i in range(X.shape[0]):
            for j in range(self.X_train.shape[0]):
                dists[i, j] = np.sqrt(np.sum((X[i] - self.X_train[j]) ** 2))
        return dists

    def compute_distances_one_loop(self, X):
        dists = np.zeros((X.shape[0], self.X_train.shape[0]))
        for i in range(X.shape[0]):
            dists[i, :] = np.sqrt(np.sum((self.X_train - X[i]) ** 2, axis=1))
        return dists

    def compute_distances_no_loops(self, X):
        squares = np.sum(X ** 2, axis=1)[:, np.newaxis] + np.sum(self.X_train ** 2, axis=1)
        return np.sqrt(np.maximum(squares - 2 * X.dot(self.X_train.T), 0))

    def predict_labels(self, dists, k=1):
        y_pred = np.zeros(dists.shape[0])
        for i in range(dists.shape[0]):
            closest_y = self.y_train[np.argsort(dists[i])[:k]]
            y_pred[i] = np.argmax(np.bincount(closest_y))
        return y_pred

class LinearClassifier(object):
    def __init__(self):
        self.W = None

    def train(self, X, y, learning_rate=1e-3, reg=1e-5, num_iters=100, batch_size=200,
              verbose=False):
        num_train, dim = X.shape
        if self.W is None:
            self.W = 0.001 * np.random.randn(dim, np.max(y) + 1)
        loss_history = []
        for it in range(num_iters):
            rows = np.random.choice(num_train, batch_size)
            loss, grad = self.loss(X[rows], y[rows], reg)
            loss_history.append(loss)
            self.W -= learning_rate * grad
            if verbose and it % 100 == 0:
                print(it, loss)
        return loss_history

    def predict(self, X):
        return np.argmax(X.dot(self.W), axis=1)

    def loss(self, X_batch, y_batch, reg):
        pass

class LinearSVM(LinearClassifier):
    def loss(self, X_batch, y_batch, reg):
        return svm_loss_vectorized(self.W, X_batch, y_batch, reg)

class Softmax(LinearClassifier):
    def loss(self, X_batch, y_batch, reg):
        return softmax_loss_vectorized(self.W, X_batch, y_batch, reg)
"""

FUNCTIONS = """
import numpy as np

def compute_distances_two_loops(x_train, x_test):
    dists = np.zeros((x_train.shape[0], x_test.shape[0]))
    for i in range(x_train.shape[0]):
        for j in range(x_test.shape[0]):
            dists[i, j] = ((x_train[i] - x_test[j]) ** 2).sum()
    return dists

def compute_distances_no_loops(x_train, x_test):
    a = (x_train ** 2).sum(axis=1).reshape(-1, 1)
    b = (x_test ** 2).sum(axis=1).reshape(1, -1)
    return a + b - 2 * x_train @ x_test.T

def predict_labels(dists, y_train, k=1):
    y_pred = np.zeros(dists.shape[1], dtype=np.int64)
    for j in range(dists.shape[1]):
        nearest = np.argsort(dists[:, j], kind="stable")[:k]
        y_pred[j] = np.bincount(y_train[nearest]).argmax()
    return y_pred

class KnnClassifier:
    def __init__(self, x_train, y_train):
        self.x_train, self.y_train = x_train, y_train

    def predict(self, x_test, k=1):
        return predict_labels(compute_distances_no_loops(self.x_train, x_test), self.y_train, k)

    def check_accuracy(self, x_test, y_test, k=1, quiet=False):
        return 100.0 * (self.predict(x_test, k) == y_test).mean()

def knn_cross_validate(x_train, y_train, num_folds=5, k_choices=None):
    k_choices = k_choices or [1, 3, 5]
    x_parts, y_parts = np.array_split(x_train, num_folds), np.array_split(y_train, num_folds)
    k_to_accuracies = {}
    for k in k_choices:
        for i in range(num_folds):
            model = KnnClassifier(np.concatenate(x_parts[:i] + x_parts[i + 1:]),
                                  np.concatenate(y_parts[:i] + y_parts[i + 1:]))
            right = (model.predict(x_parts[i], k) == y_parts[i]).mean()
            k_to_accuracies.setdefault(k, []).append(right)
    return k_to_accuracies

def svm_loss(W, X, y, reg):
    n = X.shape[0]
    s = X @ W
    margins = np.clip(s - s[range(n), y][:, None] + 1, 0, None)
    margins[range(n), y] = 0
    slopes = (margins > 0).astype(float)
    slopes[range(n), y] -= slopes.sum(axis=1)
    return margins.sum() / n + 0.5 * reg * (W ** 2).sum(), X.T @ slopes / n + reg * W

def sample_batch(X, y, num_train, batch_size):
    rows = np.random.randint(0, num_train, batch_size)
    return X[rows], y[rows]

def train_linear_classifier(loss_func, W, X, y, learning_rate=1e-3, reg=1e-5, num_iters=100,
                            batch_size=200, verbose=False):
    num_train, dim = X.shape
    if W is None:
        W = 1e-6 * np.random.randn(dim, y.max() + 1)
    loss_history = []
    for it in range(num_iters):
        X_batch, y_batch = sample_batch(X, y, num_train, batch_size)
        loss, grad = loss_func(W, X_batch, y_batch, reg)
        loss_history.append(loss)
        W -= learning_rate * grad
    return W, loss_history

def predict_linear_classifier(W, X):
    return (X @ W).argmax(axis=1)
"""

COLUMNS = '''
import numpy as np

def svm_loss_vectorized(W, X, y, reg):
    """W is C x D, X is D x N."""
    n = X.shape[1]
    scores = W.dot(X)
    margins = np.maximum(0, scores - scores[y, np.arange(n)] + 1)
    margins[y, np.arange(n)] = 0
    slopes = (margins > 0).astype(float)
    slopes[y, np.arange(n)] = -slopes.sum(axis=0)
    return margins.sum() / n + 0.5 * reg * np.sum(W * W), slopes.dot(X.T) / n + reg * W

def softmax_loss(W, X, y, lam):
    """W is C x D, X is N x D, the last column of W is the bias and is not penalised."""
    s = X @ W.T
    s = s - s.max(1, keepdims=True)
    logp = s - np.log(np.exp(s).sum(1, keepdims=True))
    p = np.exp(logp)
    p[np.arange(len(y)), y] -= 1
    V = W.copy()
    V[:, -1] = 0
    return -logp[np.arange(len(y)), y].mean() + lam * (V * V).sum(), p.T @ X / len(y) + 2 * lam * V
'''

WITH_BIAS = """
import numpy as np

def softmax_loss(W, b, X, y, reg):
    n = len(y)
    s = X @ W + b
    s -= s.max(axis=1, keepdims=True)
    p = np.exp(s)
    p /= p.sum(axis=1, keepdims=True)
    loss = -np.log(p[np.arange(n), y]).sum() / n + reg / 2 * np.sum(W * W)
    p[np.arange(n), y] -= 1
    return loss, X.T @ p / n + reg * W, p.sum(axis=0) / n

def svm_loss(W, b, X, y, reg):
    n = len(y)
    s = X @ W + b
    m = np.maximum(0, s - s[np.arange(n), y][:, None] + 1)
    m[np.arange(n), y] = 0
    d = (m > 0) * 1.0
    d[np.arange(n), y] = -d.sum(axis=1)
    loss = m.sum() / n + reg * np.sum(W * W)
    return loss, {"W": X.T @ d / n + 2 * reg * W, "b": d.sum(axis=0) / n}

def softmax(x):
    x = x - x.max(axis=1, keepdims=True)
    return np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
"""
TORCH = """
import torch

def compute_distances_two_loops(x_train, x_test):
    dists = x_train.new_zeros(x_train.shape[0], x_test.shape[0])
    for i in range(x_train.shape[0]):
        for j in range(x_test.shape[0]):
            dists[i, j] = ((x_train[i] - x_test[j]) ** 2).sum()
    return dists

def predict_labels(dists, y_train, k=1):
    y_pred = torch.zeros(dists.shape[1], dtype=torch.int64)
    for j in range(dists.shape[1]):
        nearest = torch.sort(dists[:, j], stable=True).indices[:k]
        y_pred[j] = torch.bincount(y_train[nearest]).argmax()
    return y_pred

class KnnClassifier:
    def __init__(self, x_train, y_train):
        self.x_train, self.y_train = x_train, y_train

    def predict(self, x_test, k=1):
        return predict_labels(compute_distances_two_loops(self.x_train, x_test), self.y_train, k)

def svm_loss_naive(W, X, y, reg):
    loss, dW = 0.0, torch.zeros_like(W)
    for i in range(X.shape[0]):
        scores = W.t().mv(X[i])
        for j in range(W.shape[1]):
            margin = scores[j] - scores[y[i]] + 1
            if j != y[i] and margin > 0:
                loss += margin
                dW[:, j] += X[i]
                dW[:, y[i]] -= X[i]
    loss = loss / X.shape[0] + reg * torch.sum(W * W)
    return loss, dW / X.shape[0] + 2 * reg * W

def softmax_loss_vectorized(W, X, y, reg):
    s = X @ W
    s = s - s.max(dim=1, keepdim=True).values
    logp = s - s.exp().sum(dim=1, keepdim=True).log()
    p = logp.exp()
    p[range(len(y)), y] -= 1
    return -logp[range(len(y)), y].mean() + reg * (W * W).sum(), X.t() @ p / len(y) + 2 * reg * W

def train_linear_classifier(loss_func, W, X, y, learning_rate=1e-3, reg=1e-5, num_iters=100,
                            batch_size=200, verbose=False):
    loss_history = []
    for it in range(num_iters):
        rows = torch.randint(0, X.shape[0], (batch_size,))
        loss, grad = loss_func(W, X[rows], y[rows], reg)
        loss_history.append(loss.item())
        W -= learning_rate * grad
    return W, loss_history

def predict_linear_classifier(W, X):
    return (X @ W).argmax(dim=1)
"""
SHAPES = {
    "the lecture's functions": LECTURE,
    "loops and classes": LOOPS_AND_CLASSES,
    "functions": FUNCTIONS,
    "a class in a row": COLUMNS,
    "a bias of its own": WITH_BIAS,
}
