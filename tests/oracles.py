"""Naive numpy in float64: what the library is compared with, written as the slides say it."""

import numpy as np


def hinge(scores, labels, margin=1.0):
    """Slide 34, a loop over examples and classes."""
    losses = []
    for s, y in zip(np.asarray(scores, np.float64), labels, strict=True):
        losses.append(sum(max(0.0, s[j] - s[y] + margin) for j in range(len(s)) if j != y))
    return np.array(losses)


def squared_hinge(scores, labels, margin=1.0):
    losses = []
    for s, y in zip(np.asarray(scores, np.float64), labels, strict=True):
        losses.append(sum(max(0.0, s[j] - s[y] + margin) ** 2 for j in range(len(s)) if j != y))
    return np.array(losses)


def crammer_singer_hinge(scores, labels, margin=1.0):
    losses = []
    for s, y in zip(np.asarray(scores, np.float64), labels, strict=True):
        worst = max(s[j] - s[y] + margin for j in range(len(s)) if j != y)
        losses.append(max(0.0, worst))
    return np.array(losses)


def softmax(scores, labels):
    """Slide 43, with the scores moved so that the greatest is 0."""
    losses = []
    for s, y in zip(np.asarray(scores, np.float64), labels, strict=True):
        e = np.exp(s - s.max())
        losses.append(-(s[y] - s.max() - np.log(e.sum())))
    return np.array(losses)


def L_i_vectorized(x, y, W):
    """Slide 38, as printed."""
    scores = W.dot(x)
    margins = np.maximum(0, scores - scores[y] + 1)
    margins[y] = 0
    loss_i = np.sum(margins)
    return loss_i


def eval_numerical_gradient(f, x, h=0.00001):
    """Slide 55, as printed but for Python 3: forward differences, one coordinate at a time."""
    fx = f(x)
    grad = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        old_value = x[index]
        x[index] = old_value + h
        grad[index] = (f(x) - fx) / h
        x[index] = old_value
    return grad


def gradient_descent(loss_and_gradient, W, b, learning_rate, num_steps):
    """Slide 58 in numpy: the losses met and the last (W, b)."""
    met = []
    for _ in range(num_steps):
        loss, dW, db = loss_and_gradient(W, b)
        met.append(loss)
        W, b = W - learning_rate * dW, b - learning_rate * db
    return np.array(met), W, b


def softmax_l2(X, y, reg, weight=None):
    """Loss and gradient of weighted mean cross-entropy + reg * sum W**2, by hand, float64."""
    X = np.asarray(X, np.float64)
    weight = np.ones(len(X)) if weight is None else np.asarray(weight, np.float64)

    def loss_and_gradient(W, b):
        scores = X @ W.T + b
        e = np.exp(scores - scores.max(axis=1, keepdims=True))
        p = e / e.sum(axis=1, keepdims=True)
        rows = np.arange(len(X))
        loss = (weight * -np.log(p[rows, y])).sum() / weight.sum() + reg * (W**2).sum()
        p[rows, y] -= 1
        p *= weight[:, None] / weight.sum()
        return loss, p.T @ X + 2 * reg * W, p.sum(axis=0)

    return loss_and_gradient
