namespace Volant.Tests;

public sealed class Nothing
{
    [Fact]
    public void Holds() => Assert.Equal(2, 1 + 1);
}
