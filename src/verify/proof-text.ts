/** A text for when none is given: prose, numbers, code and other scripts, so that many kinds of tokens are seen. */
export const PROOF_TEXT = `Once upon a time, there was a small lighthouse on a rocky island. Every evening at 7:45 the keeper, an old
woman named Ada, climbed its 133 steps and lit the lamp. "Ships need to see the shore," she told her cat, "even when
nobody thanks you for it."

The following are multiple choice questions (with answers) about astronomy.

Which planet of our solar system has the shortest year?
A. Venus
B. Mercury
C. Mars
D. Jupiter
Answer: B

def fibonacci(n: int) -> list[int]:
    a, b, out = 0, 1, []
    while len(out) < n:
        out.append(a)
        a, b = b, a + b
    return out  # [0, 1, 1, 2, 3, 5, 8, 13, ...]

Das Wasser fließt bergab. L'été dernier, nous sommes allés à la mer. 今天天气很好。 x² + y² = r²; π ≈ 3.14159.
`;
