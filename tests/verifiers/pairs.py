"""Labelled pairs (gold, answer), both bare: our own, by what makes them hard."""

EQUAL: dict[str, list[tuple[str, str]]] = {
    "numbers": [
        ("1/2", "0.5"), (r"\frac{1}{2}", r"\frac{2}{4}"), (r"\dfrac12", "1/2"), ("1 1/2", r"\frac32"),
        (r"4\frac{1}{2}", "4.5"), ("-1", "-1.0"), ("1,234", "1234"), (r"1\,234", "1234"), ("1{,}234", "1234"),
        (r"10{,}000", "10,000"), ("12 345", "12345"), (".5", r"\frac{1}{2}"), ("+5", "5"), ("5.", "5"),
        (r"\$32,\!348", "32348"), (r"\$18.90", "18.9"), (r"0.\overline{3}", "1/3"), (r"0.1\overline{6}", "1/6"),
        (r"2^{10}", "1024"), (r"10^{-3}", "0.001"), ("1.5e3", "1500"), (r"1.5\times 10^{3}", "1500"),
        ("73", "**73**"), ("100000", "1e5"), ("0.00002", "2e-05"),
        (r"\frac32", r"\frac{3}{2}\text{ or }1.5"), ("7", r"\textcolor{red}{7}"), ("12", "12 USD"),
        ("7", r"\underline{7}"),
        ("5", "{5}"), ("42", r"\text{42}"), ("42", r"\boxed{42}"),
        (r"-\frac{1}{2}", r"\frac{-1}{2}"),
        (r"\frac{5!}{3!}", "20"), (r"\binom{5}{2}", "10"), (r"\nicefrac{1}{2}", "0.5"), ("{1 \\over 2}", "0.5"),
    ],
    "math-verify rejects these": [
        ("pi/2", r"\frac{\pi}{2}"), ("exp(16)-1", "e^{16}-1"), ("14.0 + -1.0i", "14-i"),
        ("-1 + sqrt(3)", r"\sqrt{3}-1"),
        (r"\frac{1}{432}", r"2.3148148148148147\times 10^{-3}"), (r"\frac12\%", r"0.5\%"), ("74°", "74"),
        ("2", r"\sqrt[3]8"), ("1+2i", "i(2-i)"), ("10 weeks", "10"), (r"\frac{1}{432}", r"2.31…\times 10^{-3}"),
        ("100.3", "100.30000000000001"),
    ],
    "decimals": [
        (r"\frac{1}{3}", "0.333333"), (r"\sqrt{2}/2", "0.7071067811865476"), (r"3\pi", "9.42477796"),
        ("0.1", "0.10"), (r"\pi", "3.14159265358979"), ("0.333333", "0.33333333"), (r"3.14\ldots", r"\pi"),
    ],
    "roots and powers": [
        (r"\sqrt{8}", r"2\sqrt2"), (r"\frac{\sqrt{3}}{3}", r"1/\sqrt{3}"), (r"\sqrt[3]{27}", "3"),
        (r"\sqrt{16}", "4"),
        (r"\frac{1}{\sqrt{2}+1}", r"\sqrt{2}-1"), (r"8^{2/3}", "4"), (r"\sqrt{3+2\sqrt2}", r"1+\sqrt2"),
        ("2^{1/2}", r"\sqrt{2}"),
        (r"\left(\frac{1}{2}\right)^2", "0.25"), (r"\sqrt[4]{16}", "2"), (r"e^{i\pi}", "-1"), (r"\sqrt{-4}", "2i"),
    ],
    "functions": [
        (r"\log_2 8", "3"), (r"\ln 2", r"\log_e 2"), (r"\ln e^3", "3"), (r"\tan 15^\circ", r"2-\sqrt3"),
        (r"\sin^2 x + \cos^2 x", "1"), (r"\sin\frac{\pi}{6}", "1/2"), (r"\arctan 1", r"\frac{\pi}{4}"),
        (r"|-3|", "3"),
        (r"\sin 2x", r"2\sin x\cos x"), (r"\lfloor 3.7 \rfloor", "3"), (r"\lceil 3.2 \rceil", "4"),
        (r"\gcd(18,12)", "6"),
        (r"\operatorname{lcm}(4,6)", "12"), (r"128 \bmod 3", "2"), (r"\sin^{-1}(1)", r"\pi/2"), (r"\sin(\pi)", "0"),
        (r"\begin{vmatrix}1&2\\3&4\end{vmatrix}", "-2"), (r"\max(1,2,3)", "3"),
        (r"\lfloor \frac{n+1}{2} \rfloor", r"\lceil \frac{n}{2} \rceil"),
    ],
    "algebra": [
        ("x^2+2x+1", "(x+1)^2"), ("a+b", "b+a"), (r"\frac{2}{3}x", r"\frac{2x}{3}"), ("(x+2)(x-1)", "x^2+x-2"),
        (r"\frac{n(n+1)}{2}", r"\frac{n^2+n}{2}"), ("x(y+z)", "xy+xz"), (r"\frac{x^2-1}{x-1}", "x+1"),
        ("2x", r"2\cdot x"),
        (r"\frac{1}{x}+\frac{1}{y}", r"\frac{x+y}{xy}"), ("x_1+x_2", "x_2 + x_{1}"), (r"2^{n+1}", r"2\cdot 2^n"),
        ("a^2b", "ba^2"),
    ],
    "equations": [
        ("x=5", "5"), ("5", "x=5"), ("y=2x+3", "2x-y+3=0"), ("y=x", "x=y"), ("f(x)=x^2", "x^2"),
        ("2x+4y=6", "x+2y=3"),
        ("5", "2+3=5"), ("5", r"\frac{10}{2}=5"), (r"\sqrt{3}", r"\sqrt{3} \approx 1.732"),
        ("x=1, y=2", "y=2, x=1"), ("20", "20 = A"),
        ("7", r"AB = 7"), (r"\frac{1}{2}", r"P(A) = \frac{1}{2}"),
    ],
    "inequalities and intervals": [
        ("0<x<2", "(0,2)"), ("x<5", "5>x"), ("2x<10", "x<5"), ("-2x<10", "x>-5"), (r"x \le 3", r"(-\infty, 3]"),
        (r"x\in[1,2]", "[1,2]"),
        (r"(-\infty,1)\cup(2,3)", r"(2,3) \cup (-\infty,1)"), (r"1 \leq x \leq 2", r"2\geqslant x\ge1"),
        (r"x\ne 3", r"x \neq 3"),
        (r"\left(0,9\right]", "(0, 9]"), (r"x<-1\text{ or }x>1", r"(-\infty,-1)\cup(1,\infty)"),
        (r"\mathbb{R}", r"(-\infty,\infty)"),
    ],
    "several values": [
        ("1,2", "2,1"), (r"\{1,2\}", r"\{2, 1\}"), ("1,2", r"1 \text{ and } 2"),
        (r"1\pm\sqrt2", r"1+\sqrt2, 1-\sqrt2"),
        (r"(3,\frac{\pi}{2})", r"\left(3, \pi/2\right)"), ("(1,2)", "( 1, 2 )"), ("x=1 or x=2", "1,2"),
        (r"\pm 3", "3,-3"),
        (r"\{1\pm\sqrt5, -2\}", r"\{-2, 1-\sqrt5, 1+\sqrt5\}"), (r"\emptyset", r"\varnothing"),
        ("(1,2),(3,4)", "(3,4), (1,2)"),
        ("1:2:3", "1:2:3"), ("6:4", "3:2"), ("2,400, 1,350", "2400, 1350"), (r"(a,b)", r"(a, b)"), ("5", r"\{5\}"),
    ],
    "matrices": [
        (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{bmatrix} 1 \\ 2\end{bmatrix}"),
        (r"2\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}2\\4\end{pmatrix}"),
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}\begin{pmatrix}1\\1\end{pmatrix}", r"\begin{pmatrix}3\\7\end{pmatrix}"),
        (r"\begin{pmatrix}1/2&0\\0&1\end{pmatrix}", r"\begin{pmatrix}0.5 & 0 \\ 0 & 1 \\ \end{pmatrix}"),
    ],
    "units and percent": [
        (r"5\text{ cm}", "5"), ("5", r"5\text{ cm}^2"), (r"10\%", "0.1"), ("0.1", r"10\%"), (r"10\%", "10"),
        ("5 m", "5"), ("5", r"5\frac{m}{s}"), ("3", "3 m/s"), (r"90^\circ", "90"),
        (r"5\text{ cm}", r"5\,\mathrm{centimeters}"), (r"864 \mbox{ inches}^2", "864"),
        ("3 hours", r"3\text{ hr}"), ("20%", r"20\%"),
    ],
    "words": [
        (r"\text{Evelyn}", "Evelyn"), (r"\text{(B)}", "B"), ("(C)", r"\textbf{C}"), (r"\text{even}", "even"),
        ("Yes", r"\text{yes}"), ("Monday", "Monday."),
        ("1011_2", "1011_{2}"), ("1011_2", "1011"), (r"\text{A5}_{11}", r"\text{A5}_{11}"), ("-37_8", "-37_{8}"),
    ],
    "large": [
        ("2007!", r"2007!\cdot 1"), ("3^{100000}", "3^{100000}"), (r"2^{2005}\cdot 2", "2^{2006}"),
        (r"\frac{1}{2004!}", "1/2004!"), (r"\binom{100}{50}", r"\frac{100!}{50!50!}"),
    ],
    "for math-verify in a worker": [
        (r"\int_0^1 x\,dx", "0.5"), (r"\lim_{x\to 0}\frac{\sin x}{x}", "1"),
        (r"\sum_{k=0}^\infty \frac{1}{2^k}", "2"), ("55", r"\sum_{i=1}^{10} i"),
        (r"\frac{\partial}{\partial x} x^2", "2x"),
    ],
}  # fmt: skip
"""Class: pairs that must be accepted."""

DIFFERENT: dict[str, list[tuple[str, str]]] = {
    "math-verify accepts these": [
        ("1/2004!", "1/2006!"), ("1/2^{99}", "1/2^{98}"),
        (r"\frac{2^{2005}+1}{3\cdot 2^{2006}}", r"\frac{1}{3\cdot 2^{2006}}"),
        ("0", "3x+4y+14=0"), ("1-1/e", "1+1/e"), (r"\frac{\pi}{4}", r"\frac\pi40"), ("e^{-100}", "0"),
        (r"\begin{pmatrix} -1 & 0 \\ 0 & -1 \end{pmatrix}", r"-\begin{pmatrix} -1 & 0 \\ 0 & -1 \end{pmatrix}"),
    ],
    "numbers": [
        ("13536", "13535"), ("0.33", "1/3"), (r"\frac{1}{3}", "0.333"), ("3.14", r"\pi"), (r"\sqrt{2}", "1.4142"),
        ("10!", "10"), ("1000", "1,00"), ("5", "-5"),
        ("12", "1 2"), ("100", "1000"), ("1/2", "2/1"), (r"1\frac12", r"\frac12"), ("7", "7!"),
        ("2^{10}", "2^{11}"), ("10^{30}", "10^{30}+1"), ("", "5"),
        ("0", "10^{-9}"), ("2^{1000000}", "2^{1000000}+1"), ("9^{9^9}", "5"), ("5", "9^{9^{9^9}}"),
        ("0.5", "0.05"), ("1.10", "1.01"), ("120", "12"),
    ],
    "intervals and points": [
        ("(0,9)", "[0,9)"), ("(0,2)", "0<x<2"), (r"\{1,2\}", "(1,2)"), ("(1,2)", "(2,1)"), ("[1,2]", "1,2"),
        (r"(-\infty,3)", r"(-\infty,3]"), ("(1,2,3)", "(1,2)"),
        (r"(0,1)\cup(2,3)", "(0,1)"), (r"(0,1)\cup(2,3)", r"(0,1)\cap(2,3)"), (r"x\in[1,2]", r"x\in(1,2)"),
        ("(4,-2,3)", "(4,-2,3]"),
    ],
    "several values": [
        ("1,2", "1"), ("1", "1,2"), ("1,2,3", "1,2"), ("1,2", "1,3"), (r"\pm 3", "3"), (r"\{1,2,3\}", r"\{1,2\}"),
        ("1,1", "1,2"), ("6:4", "2:3"),
    ],
    "equations and inequalities": [
        ("x=1", "y=1"), ("x<5", r"x\le5"), ("x<5", "x>5"), ("y=2x+3", "y=2x-3"), ("x+y=1", "x-y=1"),
        ("2x+3y=5", "5"), ("x^2=4", "x=2"), ("x < 3", "3"), (r"x \ne 3", "x=3"),
        (r"x\in[-2,7]", r"y\in[-2,7]"), (r"\frac23 \approx 0.67", r"\frac23 \approx 0.77"), ("1<x<2", "1<x<3"),
    ],
    "algebra": [
        ("x", "y"), ("x^2", "2x"), ("|x|", "x"), ("x+1", "x-1"), (r"\sin x", r"\cos x"), ("2x+1", "2x"),
        ("(x+1)^2", "x^2+1"), ("a/b", "b/a"), ("x_1", "x_2"), ("n!", "n"),
        (r"\lfloor\frac{2n-1}{5}\rfloor", r"\lfloor\frac{2n-2}{5}\rfloor"),
        (r"\lfloor\sqrt{n-1}\rfloor", r"\lfloor\sqrt{n+1}\rfloor"), ("x", "5"), (r"\sqrt{x}", "x"),
    ],
    "units and words": [
        (r"5\text{ cm}", r"5\text{ m}"), (r"15\text{ cm}^2", r"15\text{ cm}^3"), ("3 hours", "3 minutes"),
        ("9 a.m.", "9 p.m."), (r"\text{A}", r"\text{B}"), ("even", "odd"),
        ("1011_2", "11"), ("1011_2", "1011_3"), ("Monday", "Tuesday"), (r"10\%", "1"), (r"10\%", r"20\%"),
        ("B", "D"), (r"\text{yes}", "no"),
    ],
    "matrices": [
        (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}2\\1\end{pmatrix}"),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}1&2\end{pmatrix}"),
        (r"\begin{pmatrix}1&0\\0&1\end{pmatrix}", "1"),
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&3\\2&4\end{pmatrix}"),
    ],
    "for math-verify in a worker": [(r"\int_0^1 x\,dx", "0.25"), (r"\lim_{x\to 0}\frac{\sin x}{x}", "0")],
}  # fmt: skip
"""Class: pairs that must be rejected."""
