namespace Volant.Cli.Output;

/// <summary>How results are printed.</summary>
internal enum OutputFormat
{
    /// <summary>Tables for people.</summary>
    Table,

    /// <summary>JSON as the API sends it; one line per item where items go on coming.</summary>
    Json,

    /// <summary>The same as YAML; one document per item where items go on coming.</summary>
    Yaml,
}
