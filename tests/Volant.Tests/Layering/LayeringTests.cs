using System.Reflection;
using System.Runtime.InteropServices;
using ArchUnitNET.Domain;
using ArchUnitNET.Loader;
using ArchUnitNET.xUnitV3;
using Volant.Daemon;
using static ArchUnitNET.Fluent.ArchRuleDefinition;
using Assembly = System.Reflection.Assembly;

namespace Volant.Tests.Layering;

public sealed class LayeringTests
{
    // Folder => the sibling folders it may use. ARCHITECTURE.md shows the same table.
    private static readonly Dictionary<string, string[]> MayUse = new(StringComparer.Ordinal)
    {
        ["Api"] = ["Orchestration", "Plugins", "Store", "Events", "Guests", "Artifacts", "Hypervisors", "Logs", "Telemetry"],
        ["Orchestration"] = ["Hypervisors", "Networking", "Devices", "Artifacts", "CloudInit", "Guests", "Plugins", "Store", "Events", "Logs", "Publishing", "Telemetry"],
        ["Plugins"] = ["Store"],
        ["Hypervisors"] = [],
        ["Networking"] = [],
        ["Devices"] = [],
        ["Artifacts"] = [],
        ["CloudInit"] = [],
        ["Publishing"] = ["Telemetry"],
        ["Guests"] = [],
        ["Logs"] = ["Guests"],
        ["Store"] = ["Telemetry"],
        ["Events"] = ["Store", "Telemetry"],
        ["Telemetry"] = [],
    };

    private static readonly ArchUnitNET.Domain.Architecture Daemon =
        new ArchLoader().LoadAssemblies(typeof(DaemonOptions).Assembly).Build();

    public static IEnumerable<TheoryDataRow<string, string>> ForbiddenPairs =>
        from folder in MayUse.Keys
        from other in MayUse.Keys
        where folder != other && !MayUse[folder].Contains(other, StringComparer.Ordinal)
        select new TheoryDataRow<string, string>(folder, other);

    public static TheoryData<string> Programs => ["volantd", "volar", "kestrel", "fledge"];

    [Theory]
    [MemberData(nameof(ForbiddenPairs))]
    public void Folder_depends_only_on_what_the_table_allows(string folder, string other) =>
        Types().That().Are(In(folder)).Should().NotDependOnAny(In(other)).Check(Daemon);

    [Fact]
    public void The_table_names_exactly_the_folders_that_exist()
    {
        var actual = Daemon.Types
            .Where(type => type.Namespace.FullName.StartsWith("Volant.Daemon.", StringComparison.Ordinal))
            .Select(type => type.Namespace.FullName.Split('.')[2])
            .Distinct(StringComparer.Ordinal);

        Assert.Equal(MayUse.Keys.Order(StringComparer.Ordinal), actual.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void No_type_of_the_contract_is_polymorphic_for_the_agent_leaves_out_the_search_for_that() =>
        Assert.DoesNotContain(
            typeof(Volant.Contracts.ContractsJson).Assembly.GetTypes(),
            type => type.IsDefined(typeof(System.Text.Json.Serialization.JsonDerivedTypeAttribute)) || type.IsDefined(typeof(System.Text.Json.Serialization.JsonPolymorphicAttribute)));

    [Theory]
    [InlineData("Volant.Contracts")]
    [InlineData("Volant.Linux")]
    public void A_base_library_references_the_framework_only(string name) =>
        Assert.DoesNotContain(
            Assembly.Load(name).GetReferencedAssemblies(),
            reference => !reference.Name!.StartsWith("System.", StringComparison.Ordinal) && reference.Name is not "netstandard" and not "Microsoft.Win32.Primitives");

    [Theory]
    [MemberData(nameof(Programs))]
    public void Native_calls_stand_in_Volant_Linux_only(string program) =>
        Assert.Empty(
            from type in Assembly.Load(program).GetTypes()
            from method in type.GetMethods(BindingFlags.Static | BindingFlags.NonPublic | BindingFlags.Public | BindingFlags.DeclaredOnly)
            where method.GetCustomAttribute<DllImportAttribute>() is not null
            select $"{type.FullName}.{method.Name}");

    [Fact]
    public void The_command_line_knows_contracts_and_system_calls_only() =>
        Assert.Equal(["Volant.Contracts", "Volant.Linux"], from reference in Assembly.Load("volar").GetReferencedAssemblies() where reference.Name!.StartsWith("Volant.", StringComparison.Ordinal) orderby reference.Name select reference.Name);

    private static IObjectProvider<IType> In(string folder) =>
        Types().That().ResideInNamespaceMatching($@"^Volant\.Daemon\.{folder}(\..+)?$").As(folder);
}
